-- The first and the last hour in each object of the index; null in one without any hour.
SELECT
    filename,
    min(hour) AS first_hour,
    max(hour) AS last_hour
FROM read_parquet($files, hive_partitioning := false, filename := true)
GROUP BY filename;
