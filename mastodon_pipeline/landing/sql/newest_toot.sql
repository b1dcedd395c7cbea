-- When the newest toot of these files was posted (UTC): read from the files' statistics alone.
SELECT max(created_at)::TIMESTAMPTZ AS newest_toot
FROM read_parquet($files, hive_partitioning := false);
