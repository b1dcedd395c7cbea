-- The applications of the selected toots, as far as they are named, the most used first.
SELECT
    app,
    count(*) AS toots
FROM selected_toots
WHERE app <> ''
GROUP BY app
ORDER BY toots DESC, app
LIMIT $most;
