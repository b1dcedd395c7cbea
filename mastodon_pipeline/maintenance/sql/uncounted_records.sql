-- How many of these files' records are of none of the counted hours.
SELECT coalesce(sum(rows), 0)::BIGINT
FROM landed_file
WHERE
    list_contains($files, path)
    AND NOT coalesce(list_contains($counted::TIMESTAMPTZ[], hour), false);
