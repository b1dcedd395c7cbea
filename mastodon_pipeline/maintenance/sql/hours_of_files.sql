-- The post hours of these files' records.
SELECT DISTINCT hour
FROM landed_file
WHERE
    list_contains($paths, path)
    AND hour IS NOT NULL
ORDER BY hour;
