-- A daily table's toots against those of the day itself; no row where they agree.
WITH claimed AS (
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
    claimed.toots AS toots,
    counted.toots AS toots_counted
FROM claimed, counted
WHERE claimed.toots <> counted.toots OR NOT of_the_day;
