-- The landed files with records of hours before $persons_until: those of hours from $done on, and of
-- earlier hours those that were written since $since. A record without an hour of ours may be of any.
SELECT DISTINCT
    path,
    etag,
    modified,
    size
FROM landed_file
WHERE
    starts_with(path, $landed)
    AND error IS NULL
    AND rows > 0
    AND (hour IS NULL OR hour < $persons_until::TIMESTAMPTZ)
    AND (hour >= $done::TIMESTAMPTZ OR modified >= $since::TIMESTAMPTZ)
ORDER BY path;
