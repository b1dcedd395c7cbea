-- Save a group of the index, by hour: a query for some hours then skips most of it.
COPY (
    SELECT * EXCLUDE (group_name) FROM landed_file WHERE group_name = $group ORDER BY hour, path
) TO $path (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 8192);
