-- Read a file whole, to see whether it can be.
SELECT bit_xor(hash(landed))
FROM read_parquet($file, hive_partitioning := false) AS landed;
