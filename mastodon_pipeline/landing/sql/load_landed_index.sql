-- Load from the index the folders that still have the files that were counted.
INSERT INTO landed_folder
SELECT
    folder,
    version,
    rows,
    ranges
FROM read_parquet($path)
SEMI JOIN (
    SELECT
        unnest($folders) AS folder,
        unnest($versions) AS version
) AS present USING (folder, version);
