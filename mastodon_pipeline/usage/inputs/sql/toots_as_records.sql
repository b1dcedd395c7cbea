-- An hour's toots as the landed records that would make them, in place of landed files that were
-- removed. toots.sql makes the same toots of them, and beside newer records they compete as the
-- records did that they were made from.
--
-- * One record an observing server. The one that the row came from wins ties of time, so reading
--   some of its own sources a second time changes nothing.
-- * A deleted toot gets its delete too, as from its home server: no newer record brings its text
--   back.
-- * Text that was withheld is withheld again, since its characters are still counted.
COPY (
    WITH toot AS (
        SELECT * FROM read_parquet($toots_file, hive_partitioning := false)
    ),

    observed AS (
        SELECT * REPLACE (unnest(seen_by) AS base_url), base_url AS newest_base_url FROM toot
    )

    SELECT
        * EXCLUDE (seen_by, deleted, newest_base_url)
            REPLACE (if(base_url = newest_base_url, status_id, '') AS status_id),
        if(base_url = newest_base_url, 2147483647, -1)::INTEGER AS kafka_partition,
        0::BIGINT AS kafka_offset
    FROM observed
    UNION ALL BY NAME
    SELECT
        * EXCLUDE (seen_by, deleted) REPLACE (
            'delete' AS event,
            '' AS status_id,
            coalesce(nullif(regexp_extract(uri, '^https?://[^/]+'), ''), base_url) AS base_url
        ),
        -1::INTEGER AS kafka_partition,
        0::BIGINT AS kafka_offset
    FROM toot
    WHERE deleted
) TO $path (FORMAT parquet);
