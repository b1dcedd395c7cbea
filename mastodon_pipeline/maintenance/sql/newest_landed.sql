-- When the newest landed file was written.
SELECT max(modified)
FROM landed_file
WHERE starts_with(path, $landed);
