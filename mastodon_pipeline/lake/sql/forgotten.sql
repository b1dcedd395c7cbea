-- Who was forgotten, as hashes, and until when nobody is named: see `lake.forgotten`.
SELECT
    kind,
    hash AS content
FROM read_parquet($file, hive_partitioning := false)
ORDER BY ALL;
