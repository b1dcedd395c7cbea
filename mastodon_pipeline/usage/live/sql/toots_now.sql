-- Toots as they are now: those of tables' files, but for the replaced ones, and what replaces them.
SELECT toot.* EXCLUDE (filename)
FROM
    read_parquet(
        $table_files, union_by_name := true, hive_partitioning := false, filename := true
    ) AS toot
ANTI JOIN read_parquet($replaced_files) AS replaced
    ON replaced.file = toot.filename AND replaced.uri = toot.uri
UNION ALL BY NAME
FROM read_parquet($local_files, union_by_name := true, hive_partitioning := false)
