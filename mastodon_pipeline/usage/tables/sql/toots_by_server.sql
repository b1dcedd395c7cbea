-- A day's toots by home server.
SELECT
    server,
    count(*) AS toots
FROM read_parquet($toots_files, union_by_name := true, hive_partitioning := false)
GROUP BY server;
