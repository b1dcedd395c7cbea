-- How many rows stand in one of two files of toots and not in the other, copies counted.
SELECT count(*)
FROM (
    (
        FROM read_parquet($kept, hive_partitioning := false)
        EXCEPT ALL
        FROM read_parquet($rebuilt, hive_partitioning := false)
    )
    UNION ALL
    (
        FROM read_parquet($rebuilt, hive_partitioning := false)
        EXCEPT ALL
        FROM read_parquet($kept, hive_partitioning := false)
    )
);
