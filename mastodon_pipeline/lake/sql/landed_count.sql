-- The records of an hour, duplicates included.
SELECT coalesce(sum(rows), 0)::BIGINT AS records
FROM landed_file
WHERE hour = $hour::TIMESTAMPTZ AND starts_with(path, $landed);
