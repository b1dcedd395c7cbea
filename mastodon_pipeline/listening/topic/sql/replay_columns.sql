-- The columns of the files to replay.
DESCRIBE
SELECT *
FROM read_parquet($paths, union_by_name := true, hive_partitioning := false);
