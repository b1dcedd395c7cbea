-- The columns of the files that are to be replayed.
DESCRIBE
SELECT *
FROM read_parquet($paths, union_by_name := true, hive_partitioning := false);
