-- Load a group from the index.
INSERT INTO landed_file BY NAME
SELECT
    $group AS group_name,
    path,
    etag,
    modified,
    size,
    indexed_at,
    error,
    hour,
    rows,
    vouched,
    ranges
FROM read_parquet($file, hive_partitioning := false);
