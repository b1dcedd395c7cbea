-- The rows of these files; they stand for the files of the lake in `paths`.
INSERT INTO {table} BY NAME
SELECT
    map($files, $paths)[filename] AS file,
    * EXCLUDE (filename)
FROM read_parquet(
    $files, filename := true, union_by_name := true, hive_partitioning := false
);
