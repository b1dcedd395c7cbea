-- A file without rows that has a table's columns.
COPY (
    SELECT unnest(from_json('{}', $columns)) LIMIT 0
) TO $path (FORMAT parquet);
