-- The post hours of the tail: a text for each that changes with its records, how many they are, and
-- of how many somebody vouches for the time, as index_landed_files.sql has it.
SELECT
    date_trunc('hour', created_at) AS hour,
    concat_ws(' ', count(*), bit_xor(hash(kafka_partition, kafka_offset))) AS records,
    count(*) AS rows,
    count(*) FILTER (
        list_contains($brought, source) OR created_at >= ingested_at - INTERVAL 1 MONTH
    ) AS vouched
FROM tail
GROUP BY ALL;
