-- Who was forgotten: hashes, see `lake.forgotten`.
SELECT
    kind,
    hash
FROM read_parquet($file, hive_partitioning := false)
ORDER BY ALL;
