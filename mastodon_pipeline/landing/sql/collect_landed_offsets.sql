-- Fills landed_offset from the files, as far back as Kafka itself still reaches.
INSERT INTO landed_offset
SELECT DISTINCT _partition, _offset
FROM read_parquet($files, hive_partitioning := false)
WHERE _offset >= $oldest_offset;
