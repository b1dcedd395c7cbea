-- The tail's records of an hour, as a landed file.
COPY (
    FROM tail WHERE created_at >= $hour_start AND created_at < $hour_end
) TO $path (FORMAT parquet, COMPRESSION uncompressed);
