-- Save the topics that were seen, for the next check.
COPY (
    SELECT
        unnest($ids) AS topic_id,
        unnest($began)::TIMESTAMPTZ AS began,
        unnest($seen_at)::TIMESTAMPTZ AS seen_at,
        unnest($partitions)::INTEGER AS kafka_partition,
        unnest($ends)::BIGINT AS end_offset
) TO $path (FORMAT parquet, COMPRESSION zstd);
