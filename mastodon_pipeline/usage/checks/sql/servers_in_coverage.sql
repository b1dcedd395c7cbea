-- How many servers of a day's server_coverage reported something, and how many did not.
SELECT
    count(DISTINCT base_url) FILTER (first_day IS NOT NULL) AS with_figures,
    count(DISTINCT base_url) FILTER (first_day IS NULL) AS without
FROM read_parquet($coverage_file, hive_partitioning := false);
