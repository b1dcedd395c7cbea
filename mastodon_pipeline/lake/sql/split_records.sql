-- The records of a range of hours, from several files, as local files with every column of the
-- record: in a folder for each hour.
COPY (
    SELECT
        *,
        strftime(created_at::TIMESTAMPTZ, '%Y-%m-%d-%H') AS split_hour
    FROM read_parquet($read, union_by_name := true, hive_partitioning := false)
    WHERE
        created_at >= $first::TIMESTAMPTZ
        AND created_at < $last::TIMESTAMPTZ + INTERVAL 1 HOUR
) TO $folder (FORMAT parquet, PARTITION_BY (split_hour));
