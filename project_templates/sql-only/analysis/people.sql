-- Action `people`: how many people of each age and sex are in the cohort, and how many of them died.
--
-- `counted` has the true counts. `safe` removes counts of 1 to 7, which could point at a person, and rounds the
-- others to the nearest 5. Everything after it, the percentage too, is worked out from `safe` alone.
WITH counted AS (
    SELECT
        CASE WHEN age < 60 THEN '50-59' WHEN age < 70 THEN '60-69' WHEN age < 80 THEN '70-79'
             ELSE '80 and over' END AS age_band,
        CASE sex WHEN 'F' THEN 'female' WHEN 'M' THEN 'male' ELSE 'not known' END AS sex,
        COUNT(*) AS people,
        SUM(CASE WHEN death = 'dead' THEN 1 ELSE 0 END) AS deaths
    FROM flchain
    WHERE age >= 50
    GROUP BY 1, 2
),
safe AS (
    SELECT
        age_band,
        sex,
        CASE WHEN people NOT BETWEEN 1 AND 7 THEN people + 2 - (people + 2) % 5 END AS people,
        CASE WHEN deaths NOT BETWEEN 1 AND 7 THEN deaths + 2 - (deaths + 2) % 5 END AS deaths
    FROM counted
)
SELECT
    age_band,
    sex,
    COALESCE(CAST(people AS TEXT), '[REDACTED]') AS people,
    COALESCE(CAST(deaths AS TEXT), '[REDACTED]') AS deaths,
    COALESCE(CAST(ROUND(100.0 * deaths / people, 1) AS TEXT), '[REDACTED]') AS percent_died
FROM safe
ORDER BY age_band, sex
