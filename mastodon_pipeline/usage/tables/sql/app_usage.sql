-- One UTC day's toots by posting application. Only the home server names it: the row '' has the
-- toots of home servers that are not listened to, or do not name it.
COPY (
    SELECT
        $day::DATE AS day,
        app,
        count(*) AS toots,
        count(DISTINCT username || '@' || server) AS users
    FROM read_parquet($toots_files, union_by_name := true, hive_partitioning := false)
    GROUP BY app
    ORDER BY toots DESC, app
) TO $path (FORMAT parquet, COMPRESSION zstd, KV_METADATA {built_from: $built_from});
