-- How many records these files hold, duplicates included: read from their footers.
SELECT coalesce(sum(num_rows), 0)::BIGINT
FROM parquet_file_metadata($files);
