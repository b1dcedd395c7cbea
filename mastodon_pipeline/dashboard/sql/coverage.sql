-- The newest week that each followed server has reported of itself.
SELECT
    server,
    arg_max(share, last_day) AS share,
    arg_max(hours_heard, last_day) AS hours_heard
FROM server_coverage
WHERE
    day = (SELECT max(day) FROM server_coverage)
    AND last_day IS NOT NULL
GROUP BY server
ORDER BY server;
