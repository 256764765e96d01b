# Disclosure control for counts: remove the small ones first, then round the rest.
#
# A count of 1 to 7 could point at a person, so it is not printed. The others are rounded to the nearest 5, so
# that two tables cannot be subtracted from each other to find a small group. Everything that is printed beside
# a count (a total, a percentage, a survival estimate) is worked out from the rounded counts, never from the
# true ones.

redact_at_or_below <- 7
round_to <- 5
redacted <- "[REDACTED]"

# True counts -> counts fit to print: NA where the count was 1 to 7. Zero stays.
safe_count <- function(n) {
  rounded <- round_to * floor((n + round_to %/% 2) / round_to)
  ifelse(n > 0 & n <= redact_at_or_below, NA, rounded)
}

# Write a table of safe counts as CSV. What is missing in it prints as redacted.
write_table <- function(table, path) {
  dir.create(dirname(path), showWarnings = FALSE, recursive = TRUE)
  readr::write_csv(table, path, na = redacted)
}
