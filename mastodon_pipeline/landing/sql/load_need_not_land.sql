-- Load what earlier checks saw.
INSERT INTO need_not_land
SELECT
    topic_id,
    kafka_partition,
    kafka_offset,
    reason
FROM read_parquet($path);
