-- What a person accepted last.
SELECT content FROM read_blob($path);
