-- The hours of files that were opened since a moment, when the last was, their records, and those
-- of them whose time somebody vouches for.
SELECT
    hour,
    max(indexed_at) AS indexed_at,
    sum(rows)::BIGINT AS records,
    sum(vouched)::BIGINT AS vouched
FROM landed_file
WHERE
    indexed_at >= $moment
    AND error IS NULL
    AND starts_with(path, $landed)
GROUP BY hour;
