-- The rows of these files, which have these numbers.
INSERT INTO {table} BY NAME
SELECT
    map($files, $numbers::UINTEGER[])[filename] AS file,
    * EXCLUDE (filename)
FROM read_parquet(
    $files, filename := true, union_by_name := true, hive_partitioning := false
);
