-- The first rows of a table's file: the columns that may be shown beside the asset.
SELECT COLUMNS($names)
FROM read_parquet($file, hive_partitioning := false)
LIMIT $most;
