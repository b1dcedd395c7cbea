-- Write the hashes of who was forgotten, and until when nobody is named.
COPY (
    SELECT
        'account' AS kind,
        unnest($accounts::VARCHAR[]) AS hash
    UNION ALL
    SELECT
        'server' AS kind,
        unnest($servers::VARCHAR[]) AS hash
    UNION ALL
    SELECT
        unnest($kinds::VARCHAR[]) AS kind,
        unnest($contents::VARCHAR[]) AS hash
    ORDER BY ALL
) TO $path (FORMAT parquet);
