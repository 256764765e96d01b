# Action `model`: the cohort -> hazard ratios, and survival by year.

source("analysis/cohort.R")
source("analysis/rounding.R")
suppressPackageStartupMessages({
  library(broom)
  library(purrr)
  library(survival)
})

years_shown <- 10

# One Cox model of death: a row per term, with people and deaths rounded.
hazard_ratios <- function(formula, name, cohort) {
  coxph(formula, data = cohort) |>
    tidy(exponentiate = TRUE, conf.int = TRUE) |>
    transmute(
      model = name, term,
      hazard_ratio = round(estimate, 2), ci_low = round(conf.low, 2), ci_high = round(conf.high, 2),
      n = safe_count(nrow(cohort)), deaths = safe_count(sum(cohort$died))
    )
}

# Share of one group still alive after 1, 2, ... years: a life table, from rounded counts only.
#
# A person whose follow-up ended in a year without death was at risk for half of it. The table ends before the
# first year whose numbers are too small to print.
life_table <- function(people, group) {
  year <- seq_len(years_shown)
  ends <- function(died) map_int(year, \(y) sum(people$died == died & people$years >= y - 1 & people$years < y))
  started <- map_int(year, \(y) sum(people$years >= y - 1))
  tibble(
    sex = group$sex, year,
    at_risk = safe_count(started - ends(0) %/% 2),
    deaths = safe_count(ends(1))
  ) |>
    filter(cumall(!is.na(at_risk) & !is.na(deaths) & at_risk > 0)) |>
    mutate(survival = round(cumprod(1 - deaths / at_risk), 3))
}

cohort <- read_cohort() |> mutate(age_10 = age / 10)

bind_rows(
  hazard_ratios(Surv(years, died) ~ sex, "crude", cohort),
  hazard_ratios(Surv(years, died) ~ sex + age_10, "adjusted for age", cohort)
) |>
  mutate(term = recode(term, sexmale = "male sex", age_10 = "age, per 10 years")) |>
  write_table("output/tables/hazard_ratios.csv")

cohort |>
  group_by(sex) |>
  group_map(life_table) |>
  bind_rows() |>
  write_table("output/tables/survival.csv")

cat("Wrote hazard ratios and survival by year.\n")
