-- The applications of these days, as far as they are named, the most used first.
SELECT
    app,
    sum(toots)::BIGINT AS toots
FROM app_usage
WHERE day BETWEEN $first AND $last AND app <> ''
GROUP BY app
ORDER BY toots DESC, app
LIMIT $most;
