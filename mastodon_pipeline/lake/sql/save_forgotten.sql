-- Write the hashes of who was forgotten.
COPY (
    SELECT
        'account' AS kind,
        unnest($accounts::VARCHAR[]) AS hash
    UNION ALL
    SELECT
        'server' AS kind,
        unnest($servers::VARCHAR[]) AS hash
    ORDER BY ALL
) TO $path (FORMAT parquet);
