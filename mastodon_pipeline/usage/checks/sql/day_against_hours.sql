-- The day's row against the sum of its hours; no row if they agree.
WITH hours AS (
    SELECT
        coalesce(sum(toots), 0) AS toots,
        count(DISTINCT server) AS servers
    FROM read_parquet($usage_files, hive_partitioning := false)
)

SELECT
    daily.day,
    daily.toots,
    hours.toots AS toots_in_hours,
    daily.servers,
    hours.servers AS servers_in_hours
FROM read_parquet($daily_file, hive_partitioning := false) AS daily, hours
WHERE
    (daily.day, daily.toots, daily.servers)
    IS DISTINCT FROM ($day::DATE, hours.toots, hours.servers);
