-- Save the index for the next run.
COPY (FROM landed_folder ORDER BY folder) TO $path (FORMAT parquet, COMPRESSION zstd);
