-- The languages of these days, the most used first.
SELECT
    language_primary AS code,
    sum(toots)::BIGINT AS toots
FROM language_usage
WHERE
    day BETWEEN $first AND $last
    AND (len($languages) = 0 OR list_contains($languages, language_primary))
GROUP BY code
ORDER BY toots DESC, code
LIMIT $most;
