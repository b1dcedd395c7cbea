-- The landed files that cannot be read, and why.
SELECT DISTINCT
    path,
    error
FROM landed_file
WHERE error IS NOT NULL
ORDER BY path;
