-- A day of a table, in the order in which it was written.
SELECT *
FROM read_parquet($files, hive_partitioning := false);
