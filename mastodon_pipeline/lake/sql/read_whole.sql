-- Read a file whole, to see whether it can be.
SELECT bit_xor(hash(landed))
FROM read_parquet($files, union_by_name := true, hive_partitioning := false) AS landed;
