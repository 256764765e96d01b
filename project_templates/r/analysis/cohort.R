# The rows of action `extract`, read in one place.

suppressPackageStartupMessages({
  library(dplyr)
  library(readr)
})

# One row per person: age, age_band, sex, years, died.
#
# Ends the action when a value is missing where none may be. What it says then names columns, not people.
read_cohort <- function(path = "output/cohort.csv.gz") {
  cohort <- read_csv(path, col_types = cols(
    age = col_integer(), sex = col_factor(c("female", "male")), years = col_double(), died = col_integer()
  )) |>
    mutate(age_band = cut(
      age,
      breaks = c(50, 60, 70, 80, Inf), right = FALSE,
      labels = c("50-59", "60-69", "70-79", "80 and over")
    ))
  missing <- names(cohort)[colSums(is.na(cohort)) > 0]
  if (length(missing) > 0) {
    stop("Values are missing or unknown in: ", paste(missing, collapse = ", "), ".", call. = FALSE)
  }
  cohort
}
