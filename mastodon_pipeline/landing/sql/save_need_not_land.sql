-- Save it for the next check: once they have left the topic, nothing else can tell.
COPY (FROM need_not_land ORDER BY ALL) TO $path (FORMAT parquet, COMPRESSION zstd);
