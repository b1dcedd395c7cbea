-- Copy those records of these files that are of none of the counted hours.
COPY (
    SELECT *
    FROM read_parquet($files, union_by_name := true, hive_partitioning := false)
    WHERE NOT coalesce(
        list_contains($counted::TIMESTAMPTZ[], date_trunc('hour', created_at::TIMESTAMPTZ)), false
    )
) TO $path (FORMAT parquet, COMPRESSION zstd);
