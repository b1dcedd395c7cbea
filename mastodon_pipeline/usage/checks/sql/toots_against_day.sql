-- A daily table's toots against those of the day itself; no row if they agree.
WITH daily AS (
    SELECT
        coalesce(sum(toots), 0) AS toots,
        coalesce(bool_and(day = $day::DATE), true) AS of_the_day
    FROM read_parquet($daily_file, hive_partitioning := false)
),

counted AS (
    SELECT count(*) AS toots
    FROM read_parquet($toots_files, union_by_name := true, hive_partitioning := false)
)

SELECT
    daily.toots AS toots,
    counted.toots AS toots_counted
FROM daily, counted
WHERE daily.toots <> counted.toots OR NOT of_the_day;
