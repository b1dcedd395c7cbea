-- Add what this check saw and no earlier one did; each added offset is returned.
INSERT INTO need_not_land
SELECT DISTINCT
    $topic_id,
    kafka_partition,
    kafka_offset,
    $reason
FROM (
    SELECT
        unnest($partitions)::INTEGER AS kafka_partition,
        unnest($offsets)::BIGINT AS kafka_offset
) AS seen
ANTI JOIN (SELECT * FROM need_not_land WHERE topic_id = $topic_id) AS known
    USING (kafka_partition, kafka_offset)
RETURNING kafka_partition, kafka_offset;
