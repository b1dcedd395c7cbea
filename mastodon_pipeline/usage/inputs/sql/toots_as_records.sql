-- An hour's toots as the landed records that would make them: what stands for landed files that
-- were removed. Fed to toots.sql they give the same toots, and beside newer records they take
-- part as the records did that they were made from.
--
-- * One record an observing server. The one that the row came from wins where times are equal, so
--   that reading some of its own sources a second time changes nothing.
-- * A deleted toot gets its delete, too: no newer record brings its text back.
-- * Text that was withheld is withheld again, since its characters are still counted.
COPY (
    WITH toot AS (
        SELECT * FROM read_parquet($toots_file, hive_partitioning := false)
    ),

    told AS (
        SELECT * REPLACE (unnest(seen_by) AS base_url), base_url AS newest_from FROM toot
    )

    SELECT
        * EXCLUDE (seen_by, deleted, newest_from)
            REPLACE (if(base_url = newest_from, status_id, '') AS status_id),
        if(base_url = newest_from, 2147483647, -1)::INTEGER AS _partition,
        0::BIGINT AS _offset
    FROM told
    UNION ALL BY NAME
    SELECT
        * EXCLUDE (seen_by, deleted) REPLACE ('delete' AS event, '' AS status_id),
        -1::INTEGER AS _partition,
        0::BIGINT AS _offset
    FROM toot
    WHERE deleted
) TO $path (FORMAT parquet);
