-- The topics that checks have seen, in their order.
SELECT
    topic_id,
    began,
    seen_at,
    kafka_partition,
    end_offset
FROM read_parquet($path)
ORDER BY
    began NULLS FIRST,
    seen_at,
    kafka_partition;
