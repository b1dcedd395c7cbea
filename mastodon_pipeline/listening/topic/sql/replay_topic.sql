-- Landed records (or rows of `toots`) as they were in the topic, times in UTC milliseconds. What
-- is no field of the record is left out (Kafka's coordinates, columns of later tables), but for
-- `deleted`, which `toots` has.
SELECT
    epoch_ms(COLUMNS(name -> name IN $times)),
    COLUMNS(name -> name IN $others)
FROM read_parquet($paths, union_by_name := true, hive_partitioning := false);
