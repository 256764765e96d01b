# Write dummy/cohort.csv: SYNTHETIC rows with the columns of action `extract`.
#
# Nobody is in them. They are drawn from a seeded random number generator and were never fitted to any real
# data: the shares and rates below are round numbers, chosen so that every table of the study has rows.
# Run this from the root of the study after a change; the same program always writes the same bytes.

people <- 800
longest_years <- 12
deaths_per_year <- c(female = 0.08, male = 0.11)

set.seed(20260101)
age <- 50L + as.integer(45 * runif(people)^2)
sex <- ifelse(runif(people) < 0.55, "female", "male")
until_death <- -log(runif(people)) / (deaths_per_year[sex] * exp((age - 65) / 15))
followed <- longest_years * (1 - runif(people)^3)

cohort <- data.frame(
  age, sex,
  years = sprintf("%.3f", pmax(0.001, pmin(until_death, followed))),
  died = as.integer(until_death < followed)
)
write.csv(cohort, "dummy/cohort.csv", row.names = FALSE, quote = FALSE)
