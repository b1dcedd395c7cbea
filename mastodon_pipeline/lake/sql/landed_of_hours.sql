-- The files that hold records of these hours. The bounds let whole row groups be skipped.
SELECT DISTINCT
    hour,
    path,
    etag,
    modified,
    size
FROM landed_file
WHERE
    hour BETWEEN $first AND $last
    AND list_contains($hours::TIMESTAMPTZ[], hour)
    AND starts_with(path, $landed);
