-- How many records these files hold, by source and hour of receiving, each once: the sink delivers
-- at least once. A Kafka that started over gives offsets a second time, so `ingested_at` is part of
-- a record's identity. A backfill is a source apart from its server's listener.
SELECT
    source,
    hour,
    (count(*) FILTER (NOT replayed))::BIGINT AS records,
    (count(*) FILTER (replayed))::BIGINT AS replayed
FROM (
    SELECT DISTINCT
        base_url || CASE WHEN source = 'past' THEN ' past' ELSE '' END AS source,
        epoch_ms(date_trunc('hour', ingested_at::TIMESTAMPTZ)) AS hour,
        coalesce(source = 'replay', false) AS replayed,
        coalesce(kafka_partition, _partition) AS kafka_partition,
        coalesce(kafka_offset, _offset) AS kafka_offset,
        ingested_at
    FROM read_parquet($files, union_by_name := true, hive_partitioning := false)
    WHERE
        ingested_at IS NOT NULL
        -- else it is a file that the sink did not write
        AND coalesce(kafka_offset, _offset) IS NOT NULL
        AND coalesce(kafka_timestamp, _ts) IS NOT NULL
)
GROUP BY ALL
ORDER BY ALL;
