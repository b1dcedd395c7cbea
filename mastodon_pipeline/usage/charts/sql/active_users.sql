-- A day's active people for its $top servers with the most, and all servers first.
SELECT
    server,
    if(server = $all, toots, 0) AS toots,
    people,
    people_7_days,
    people_28_days,
    bots_28_days
FROM read_parquet($files, hive_partitioning := false)
QUALIFY row_number() OVER (ORDER BY server <> $all, people_28_days DESC, server) <= $top + 1
ORDER BY server <> $all, people_28_days DESC, server;
