# Action `describe`: the cohort -> a table of who is in it, and how many of them died.

source("analysis/cohort.R")
source("analysis/rounding.R")

read_cohort() |>
  group_by(age_band, sex) |>
  summarise(people = safe_count(n()), deaths = safe_count(sum(died)), .groups = "drop") |>
  mutate(percent_died = round(100 * deaths / people, 1)) |>
  write_table("output/tables/baseline.csv")

cat("Wrote a table.\n")
