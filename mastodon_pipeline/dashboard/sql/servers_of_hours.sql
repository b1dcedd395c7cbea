-- The home servers of these hours, the busiest first.
SELECT server
FROM toots_per_server_per_hour
WHERE hour >= $since
GROUP BY server
ORDER BY sum(toots) DESC, server;
