-- Which input files each of these tables' files was made from (a fingerprint that we wrote).
SELECT
    file_name,
    decode(value) AS built_from
FROM parquet_kv_metadata($files)
WHERE decode(key) = 'built_from';
