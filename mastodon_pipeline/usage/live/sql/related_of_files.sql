-- The related records from landed files, whole, as a landed file.
COPY (
    SELECT landed.*
    FROM read_parquet($files, union_by_name := true, hive_partitioning := false) AS landed
    SEMI JOIN related_record AS related
        ON landed.filename = related.path AND landed.file_row_number = related.position
) TO $path (FORMAT parquet, COMPRESSION uncompressed);
