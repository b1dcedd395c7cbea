-- The hours of files that were opened since a moment, when the last was, and their records.
SELECT
    hour,
    max(indexed_at) AS indexed_at,
    sum(rows)::BIGINT AS records
FROM landed_file
WHERE
    indexed_at >= $moment
    AND error IS NULL
    AND starts_with(path, $landed)
GROUP BY hour;
