# Action `plot`: the table of survival -> a figure.
#
# It reads a printed table only, so it can show nothing that the table does not say.

suppressPackageStartupMessages({
  library(dplyr)
  library(ggplot2)
  library(readr)
})

survival <- read_csv("output/tables/survival.csv", col_types = "cidid")
start <- survival |> distinct(sex) |> mutate(year = 0, survival = 1)

figure <- ggplot(bind_rows(start, survival), aes(year, survival, colour = sex, shape = sex)) +
  geom_line() +
  geom_point(size = 2) +
  scale_x_continuous("Years since the blood sample", breaks = seq(0, 10, 2)) +
  scale_y_continuous("Share alive", limits = c(0, 1)) +
  scale_colour_brewer(NULL, palette = "Dark2") +
  scale_shape(NULL) +
  labs(title = "Survival of women and men, age 50 and over") +
  theme_minimal()

dir.create("output/figures", showWarnings = FALSE, recursive = TRUE)
ggsave("output/figures/survival.png", figure, width = 6, height = 4, dpi = 120, bg = "white")
cat("Wrote a figure.\n")
