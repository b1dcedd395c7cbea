-- The slices of an hour's toots as one file, in the order of a whole one.
COPY (
    FROM read_parquet($slice_files, hive_partitioning := false)
    ORDER BY server, created_at, uri
) TO $path (FORMAT parquet, COMPRESSION zstd, KV_METADATA {built_from: $built_from});
