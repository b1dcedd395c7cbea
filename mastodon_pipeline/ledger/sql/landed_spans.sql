-- Which offsets, and which times of receiving, these files reach over.
SELECT
    coalesce(kafka_partition, _partition)::INTEGER AS kafka_partition,
    min(coalesce(kafka_offset, _offset))::BIGINT AS first_offset,
    max(coalesce(kafka_offset, _offset))::BIGINT AS last_offset,
    epoch_ms(min(ingested_at::TIMESTAMPTZ)) AS first_ingested,
    epoch_ms(max(ingested_at::TIMESTAMPTZ)) AS last_ingested
FROM read_parquet($files, union_by_name := true, hive_partitioning := false)
WHERE ingested_at IS NOT NULL
GROUP BY 1
HAVING first_offset IS NOT NULL;
