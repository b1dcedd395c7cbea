-- Every toot once, as of this moment. The functions are bound once a statement: what they return is
-- a constant, and files are left out by it before any is opened.
CREATE OR REPLACE VIEW live.toots AS
SELECT {columns}
FROM (
    SELECT * EXCLUDE (filename)
    FROM read_parquet(
        live_files('toots', 'table', txid_current()::BIGINT),
        hive_partitioning := true,
        hive_types := {{'day': DATE, 'hour': BIGINT}},
        filename := true
    )
    WHERE NOT list_contains(live_files('toots', 'behind', txid_current()::BIGINT), filename)
    UNION ALL BY NAME
    SELECT
        *,
        created_at::DATE AS day,
        date_part('hour', created_at) AS hour
    FROM (
        SELECT toot.* EXCLUDE (filename)
        FROM
            read_parquet(
                live_files('toots', 'base', txid_current()::BIGINT),
                union_by_name := true,
                hive_partitioning := false,
                filename := true
            ) AS toot
        ANTI JOIN
            read_parquet(live_files('toots', 'replaced', txid_current()::BIGINT)) AS replaced
            ON replaced.file = toot.filename AND replaced.uri = toot.uri
        UNION ALL BY NAME
        FROM read_parquet(
            live_files('toots', 'local', txid_current()::BIGINT),
            union_by_name := true,
            hive_partitioning := false
        )
    )
);
