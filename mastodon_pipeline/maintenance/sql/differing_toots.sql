-- How many rows are in only one of two files of toots, counting copies; of $slice of $slices.
WITH former AS (
    FROM read_parquet($current, hive_partitioning := false)
    WHERE hash(uri) % $slices = $slice
),

latter AS (
    FROM read_parquet($rebuilt, hive_partitioning := false)
    WHERE hash(uri) % $slices = $slice
)

SELECT count(*)
FROM (
    (FROM former EXCEPT ALL FROM latter)
    UNION ALL
    (FROM latter EXCEPT ALL FROM former)
);
