-- The rows of the landed files, duplicates included: the sink delivers at least once.
SELECT coalesce(sum(rows), 0)::BIGINT AS landed_rows
FROM landed_folder
WHERE starts_with(folder, $folder);
