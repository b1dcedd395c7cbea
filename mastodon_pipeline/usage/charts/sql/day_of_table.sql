-- What a daily chart draws: its table's day, in the order in which it was written.
SELECT *
FROM read_parquet($daily_file, hive_partitioning := false);
