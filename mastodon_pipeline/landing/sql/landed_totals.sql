-- The landed files taken together; receipts of removed ones are not among them.
WITH landed AS (
    SELECT * FROM landed_file WHERE starts_with(path, $landed)
),

file AS (
    SELECT DISTINCT
        path,
        size,
        modified
    FROM landed
)

SELECT
    (SELECT count(*) FROM file) AS files,
    coalesce(sum(rows), 0)::BIGINT AS rows,
    (SELECT coalesce(sum(size), 0)::BIGINT FROM file) AS bytes,
    count(DISTINCT hour) AS hours,
    max(hour) FILTER (hour <= $now) AS newest_hour,
    (SELECT max(modified) FROM file) AS newest_file
FROM landed;
