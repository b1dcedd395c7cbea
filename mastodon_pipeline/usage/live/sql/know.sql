-- Add an hour's records in some landed files.
INSERT INTO known_record BY NAME
SELECT
    $hour_start::TIMESTAMPTZ AS hour,
    filename AS path,
    file_row_number AS position,
    coalesce(uri, '') AS uri,
    base_url,
    coalesce(status_id, '') AS status_id
FROM read_parquet($files, union_by_name := true, hive_partitioning := false)
WHERE created_at >= $hour_start AND created_at < $hour_end;
