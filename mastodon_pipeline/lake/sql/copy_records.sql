-- The records of an hour, from several files, as one local file with every column of the record.
COPY (
    FROM read_parquet($read, union_by_name := true, hive_partitioning := false)
    WHERE created_at >= $hour::TIMESTAMPTZ AND created_at < $hour::TIMESTAMPTZ + INTERVAL 1 HOUR
) TO $path (FORMAT parquet);
