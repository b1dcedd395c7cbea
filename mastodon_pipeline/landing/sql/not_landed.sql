-- Those of the given records that are in no landed file and in no receipt.
SELECT
    suspect.kafka_partition,
    suspect.kafka_offset
FROM (
    SELECT
        unnest($partitions)::INTEGER AS kafka_partition,
        unnest($offsets)::BIGINT AS kafka_offset
) AS suspect
ANTI JOIN landed_range AS landed
    ON
        landed.kafka_partition = suspect.kafka_partition
        AND suspect.kafka_offset BETWEEN landed.first_offset AND landed.last_offset;
