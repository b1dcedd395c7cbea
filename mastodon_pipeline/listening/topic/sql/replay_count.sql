-- The number of rows to replay, from the files' footers.
SELECT count(*)
FROM read_parquet($paths, union_by_name := true, hive_partitioning := false);
