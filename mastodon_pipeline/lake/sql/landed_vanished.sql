-- Forget the files of a group that are not listed, or in another version, or, on request, that
-- could not be read before. Each is returned, once for each of its rows.
DELETE FROM landed_file
WHERE
    group_name = $group
    AND (
        (path, etag) NOT IN (SELECT (unnest($paths), unnest($etags)))
        OR ($retry AND error IS NOT NULL)
    )
RETURNING path;
