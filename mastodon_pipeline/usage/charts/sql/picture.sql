-- The bytes of a file.
SELECT content
FROM read_blob($path);
