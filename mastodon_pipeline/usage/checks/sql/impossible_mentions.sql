-- Terms whose counts are impossible: more toots than the day has, or fewer mentions than toots.
SELECT
    term,
    mentioned.toots AS toots,
    mentioned.mentions AS mentions,
    counted.toots AS toots_of_the_day
FROM
    read_parquet($daily_file, hive_partitioning := false) AS mentioned,
    (
        SELECT count(*) AS toots
        FROM read_parquet($toots_files, union_by_name := true, hive_partitioning := false)
    ) AS counted
WHERE
    mentioned.toots > counted.toots
    OR mentioned.mentions < mentioned.toots
    OR (mentioned.mentions > 0 AND mentioned.toots = 0)
    OR mentioned.day <> $day::DATE
ORDER BY term;
