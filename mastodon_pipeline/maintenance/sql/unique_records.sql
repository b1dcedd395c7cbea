-- How many records these files hold that none of the other files has: what would be lost with
-- files that no snapshot names.
SELECT count(*)
FROM (
    SELECT DISTINCT
        coalesce(kafka_partition, _partition) AS kafka_partition,
        coalesce(kafka_offset, _offset) AS kafka_offset,
        coalesce(kafka_timestamp, _ts) AS kafka_timestamp
    FROM read_parquet($files, union_by_name := true, hive_partitioning := false)
) AS own
ANTI JOIN (
    SELECT
        coalesce(kafka_partition, _partition) AS kafka_partition,
        coalesce(kafka_offset, _offset) AS kafka_offset,
        coalesce(kafka_timestamp, _ts) AS kafka_timestamp
    FROM read_parquet($others, union_by_name := true, hive_partitioning := false)
) AS other USING (kafka_partition, kafka_offset, kafka_timestamp);
