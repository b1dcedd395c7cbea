-- The newest hour that the tables have.
SELECT max(hour) AS hour
FROM toots_per_server_per_hour;
