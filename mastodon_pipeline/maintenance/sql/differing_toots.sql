-- How many rows are in only one of two files of toots, counting copies.
SELECT count(*)
FROM (
    (
        FROM read_parquet($current, hive_partitioning := false)
        EXCEPT ALL
        FROM read_parquet($rebuilt, hive_partitioning := false)
    )
    UNION ALL
    (
        FROM read_parquet($rebuilt, hive_partitioning := false)
        EXCEPT ALL
        FROM read_parquet($current, hive_partitioning := false)
    )
);
