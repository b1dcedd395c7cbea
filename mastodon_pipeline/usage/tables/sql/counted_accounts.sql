-- The fingerprint of the accounts that each of these files of active_users was made from.
SELECT
    file_name,
    decode(value) AS accounts
FROM parquet_kv_metadata($files)
WHERE decode(key) = 'accounts';
