-- A table's file as it is, made from other files as far as its fingerprint says.
COPY (
    SELECT * FROM read_parquet($table_file, hive_partitioning := false)
) TO $path (FORMAT parquet, COMPRESSION zstd, KV_METADATA {built_from: $built_from});
