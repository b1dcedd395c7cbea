-- One UTC day's toots by hour of the day: 24 rows, also for hours without toots.
COPY (
    WITH usage AS (
        SELECT
            date_part('hour', created_at) AS hour_of_day,
            count(*) AS toots,
            count(DISTINCT username || '@' || server) AS users
        FROM read_parquet($toots_files, union_by_name := true, hive_partitioning := false)
        GROUP BY ALL
    )

    SELECT
        $day::DATE AS day,
        hour_of_day::INTEGER AS hour_of_day,
        coalesce(toots, 0) AS toots,
        coalesce(users, 0) AS users
    FROM range(24) AS clock (hour_of_day)
    LEFT JOIN usage USING (hour_of_day)
    ORDER BY hour_of_day
) TO $path (FORMAT parquet, COMPRESSION zstd, KV_METADATA {built_from: $built_from});
