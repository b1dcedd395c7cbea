-- The landed files that can be read.
SELECT DISTINCT
    path,
    etag,
    modified,
    size
FROM landed_file
WHERE
    starts_with(path, $landed)
    AND error IS NULL
ORDER BY path;
