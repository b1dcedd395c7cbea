-- Count one folder: its rows, and its offsets as ranges without gaps (within a range, offsets grow
-- as fast as row numbers do).
INSERT INTO landed_folder
WITH landed AS (
    SELECT
        _partition,
        _offset
    FROM read_parquet($files, hive_partitioning := false)
),

numbered AS (
    SELECT
        _partition,
        _offset,
        _offset - row_number() OVER (PARTITION BY _partition ORDER BY _offset) AS island
    FROM (SELECT DISTINCT * FROM landed)
),

stretch AS (
    SELECT
        _partition::INTEGER AS _partition,
        min(_offset)::BIGINT AS first_offset,
        max(_offset)::BIGINT AS last_offset
    FROM numbered
    GROUP BY numbered._partition, island
    ORDER BY ALL
)

SELECT
    $folder,
    $version,
    (SELECT count(*) FROM landed),
    coalesce((SELECT list(stretch) FROM stretch), []);
