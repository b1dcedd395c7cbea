-- The fingerprint of the input files that each of these tables' files was made from.
SELECT
    file_name,
    decode(value) AS built_from
FROM parquet_kv_metadata($files)
WHERE decode(key) = 'built_from';
