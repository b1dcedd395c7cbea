-- How long a day's toots are, by language, in characters: quartiles, the most used first.
SELECT
    language_primary AS code,
    q1,
    median,
    q3,
    toots
FROM language_density
WHERE
    day = (SELECT max(day) FROM language_density WHERE day BETWEEN $first AND $last)
    AND toots >= $least
    AND (len($languages) = 0 OR list_contains($languages, language_primary))
ORDER BY toots DESC, code
LIMIT $most;
