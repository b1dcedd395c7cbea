-- The events of some hours of receiving that landed only as sent again, by source and hour. The
-- bounds are UTC milliseconds.
SELECT
    source,
    hour,
    count(*) AS records
FROM (
    SELECT
        base_url AS source,
        epoch_ms(date_trunc('hour', ingested_at::TIMESTAMPTZ)) AS hour,
        status_id,
        event,
        edited_at,
        bool_and(coalesce(source = 'replay', false)) AS only_replayed
    FROM read_parquet($files, union_by_name := true, hive_partitioning := false)
    WHERE
        epoch_ms(ingested_at::TIMESTAMPTZ) >= $first
        AND epoch_ms(ingested_at::TIMESTAMPTZ) < $end
        AND coalesce(kafka_offset, _offset) IS NOT NULL
    GROUP BY ALL
)
WHERE only_replayed
GROUP BY ALL;
