-- How many records these files hold that none of the other files has: what would be lost with
-- files that no snapshot names.
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
