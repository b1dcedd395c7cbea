-- Forget what the sink has committed. The days on which Kafka took it are returned.
DELETE FROM tail
WHERE kafka_offset < map($partitions::INTEGER[], $committed::BIGINT[])[kafka_partition]
RETURNING kafka_timestamp::DATE;
