-- Action `tenths`: deaths by tenth of the light chains, from 1 (lowest) to 10 (highest).
--
-- `counted` has the true counts, `safe` those that may be printed: see people.sql.
WITH counted AS (
    SELECT
        flc_grp AS tenth,
        COUNT(*) AS people,
        SUM(CASE WHEN death = 'dead' THEN 1 ELSE 0 END) AS deaths
    FROM flchain
    WHERE age >= 50
    GROUP BY 1
),
safe AS (
    SELECT
        tenth,
        CASE WHEN people NOT BETWEEN 1 AND 7 THEN people + 2 - (people + 2) % 5 END AS people,
        CASE WHEN deaths NOT BETWEEN 1 AND 7 THEN deaths + 2 - (deaths + 2) % 5 END AS deaths
    FROM counted
)
SELECT
    tenth,
    COALESCE(CAST(people AS TEXT), '[REDACTED]') AS people,
    COALESCE(CAST(deaths AS TEXT), '[REDACTED]') AS deaths,
    COALESCE(CAST(ROUND(100.0 * deaths / people, 1) AS TEXT), '[REDACTED]') AS percent_died
FROM safe
ORDER BY tenth
