-- Some home servers' toots by UTC day, and in how many of its hours they had any.
SELECT
    server,
    hour::DATE AS day,
    sum(toots)::BIGINT AS toots,
    count(*)::INTEGER AS hours
FROM read_parquet($usage_files, hive_partitioning := false)
WHERE list_contains($servers::VARCHAR[], server)
GROUP BY ALL;
