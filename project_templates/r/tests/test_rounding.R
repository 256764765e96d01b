# Tests of analysis/rounding.R. `sh tests/run.sh` runs them in the image of the actions.

source("analysis/rounding.R")

# Counts of 1 to 7 are gone; zero stays; the others are multiples of 5.
stopifnot(identical(safe_count(c(0, 1, 5, 7)), c(0, NA, NA, NA)))
stopifnot(identical(safe_count(c(8, 12, 13, 17, 18)), c(10, 10, 15, 15, 20)))

# No printed count is true of fewer than three true ones, and none is more than 2 away.
true <- 0:1000
printed <- safe_count(true)
kept <- !is.na(printed)
stopifnot(sum(!kept) == 7, all(abs(printed[kept] - true[kept]) <= 2), all(printed[kept] %% 5 == 0))

# A redacted count leaves no trace in the file.
path <- file.path(tempdir(), "table.csv")
write_table(data.frame(group = c("a", "b"), n = safe_count(c(3, 100))), path)
stopifnot(identical(readLines(path), c("group,n", "a,[REDACTED]", "b,100")))

cat("All tests of rounding.R passed.\n")
