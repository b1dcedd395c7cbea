-- How many rows the landed files hold, from their footers alone: duplicates included, since the
-- sink delivers at least once.
SELECT coalesce(sum(num_rows), 0)::BIGINT AS landed_rows
FROM parquet_file_metadata($files);
