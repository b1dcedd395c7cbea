-- Keeps the index for the next time.
COPY (FROM landed_folder ORDER BY folder) TO $path (FORMAT parquet, COMPRESSION zstd);
