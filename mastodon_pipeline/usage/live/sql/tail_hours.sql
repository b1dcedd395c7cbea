-- The post hours of the tail, and a text for each that changes with its records.
SELECT
    date_trunc('hour', created_at) AS hour,
    concat_ws(' ', count(*), bit_xor(hash(kafka_partition, kafka_offset))) AS records
FROM tail
GROUP BY ALL;
