-- The languages of the selected toots, the most used first.
SELECT
    language_primary AS code,
    count(*) AS toots
FROM selected_toots
GROUP BY code
ORDER BY toots DESC, code
LIMIT $most;
