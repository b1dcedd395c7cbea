-- The home servers of the last days, the busiest first.
SELECT server
FROM active_users
WHERE day >= $first AND server <> 'ALL'
GROUP BY server
ORDER BY sum(toots) DESC, server;
