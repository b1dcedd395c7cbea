-- A day's toots by home server, as they were counted before.
SELECT
    server,
    toots
FROM read_parquet($table_file, hive_partitioning := false)
WHERE server <> $all;
