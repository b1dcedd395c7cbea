-- The Kafka coordinates of an hour's landed records, each once: what remains of them when their
-- files are removed, so that completeness against Kafka can still be checked.
COPY (
    SELECT DISTINCT
        coalesce(kafka_partition, _partition) AS kafka_partition,
        coalesce(kafka_offset, _offset) AS kafka_offset,
        coalesce(kafka_timestamp, _ts) AS kafka_timestamp
    FROM read_parquet($files, union_by_name := true, hive_partitioning := false)
    WHERE created_at >= $hour_start AND created_at < $hour_start + INTERVAL 1 HOUR
    ORDER BY ALL
) TO $path (FORMAT parquet, COMPRESSION zstd);
