-- Action `extract`: one row for each person, with the columns that the study needs and no others.
--
-- Follow-up is in years. Who died on the day of the blood sample counts with half a day, because a survival
-- time must be above zero.
SELECT
    age,
    CASE sex WHEN 'F' THEN 'female' WHEN 'M' THEN 'male' END AS sex,
    CASE WHEN futime > 0 THEN futime ELSE 0.5 END / 365.25 AS years,
    CASE death WHEN 'dead' THEN 1 WHEN 'alive' THEN 0 END AS died
FROM flchain
WHERE age >= 50
ORDER BY id
