-- Action `causes`: deaths by chapter of the ICD-9. Rare causes stay in the table, without a number.
--
-- `counted` has the true counts, `safe` those that may be printed: see people.sql. The order is by name: an
-- order by number would tell which of the redacted causes is the commoner one.
WITH counted AS (
    SELECT
        COALESCE(chapter, 'not known') AS cause,
        COUNT(*) AS deaths
    FROM flchain
    WHERE age >= 50 AND death = 'dead'
    GROUP BY 1
),
safe AS (
    SELECT
        cause,
        CASE WHEN deaths NOT BETWEEN 1 AND 7 THEN deaths + 2 - (deaths + 2) % 5 END AS deaths
    FROM counted
)
SELECT
    cause,
    COALESCE(CAST(deaths AS TEXT), '[REDACTED]') AS deaths
FROM safe
ORDER BY cause
