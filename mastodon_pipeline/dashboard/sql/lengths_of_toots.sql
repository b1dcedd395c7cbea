-- How long the selected toots are, by language, in characters: quartiles, the most used first.
SELECT
    language_primary AS code,
    quantile_cont(characters, 0.25) AS q1,
    quantile_cont(characters, 0.5) AS median,
    quantile_cont(characters, 0.75) AS q3,
    count(*) AS toots
FROM selected_toots
GROUP BY code
HAVING toots >= $least
ORDER BY toots DESC, code
LIMIT $most;
