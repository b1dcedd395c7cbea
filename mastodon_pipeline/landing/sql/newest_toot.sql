-- When the newest toot of these files was posted (UTC): an hour's files tell by their statistics.
SELECT max(created_at)::TIMESTAMPTZ AS newest_toot
FROM read_parquet($files, hive_partitioning := false);
