-- The Kafka coordinates of an hour's landed records, each once: what remains of them when their
-- files are removed, so that completeness against Kafka can still be checked.
COPY (
    SELECT DISTINCT
        _partition,
        _offset
    FROM read_parquet($files, union_by_name := true, hive_partitioning := false)
    ORDER BY
        _partition,
        _offset
) TO $path (FORMAT parquet, COMPRESSION zstd);
