-- One UTC day's toots by posting application. Only the home server tells it, so '' is where no
-- home server was listened to, or it would not say: a row like any other.
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
