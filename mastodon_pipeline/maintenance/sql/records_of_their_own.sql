-- How many records these files hold that are in none of the others: of a file that no table
-- names, what would be lost with it.
SELECT count(*)
FROM (
    SELECT DISTINCT
        _partition,
        _offset
    FROM read_parquet($files, union_by_name := true, hive_partitioning := false)
) AS own
ANTI JOIN (
    SELECT
        _partition,
        _offset
    FROM read_parquet($others, union_by_name := true, hive_partitioning := false)
) AS other USING (_partition, _offset);
