-- The toots of a span that a visitor has selected, as of this moment. What to read, and what is
-- selected, are variables of the connection: DuckDB looks them up when it binds a statement.
CREATE OR REPLACE VIEW selected_toots AS
SELECT
    created_at,
    server,
    username || '@' || server AS account,
    bot,
    app,
    language_primary,
    tag_names,
    characters
FROM (
    FROM read_parquet(
        getvariable('toots_files'), union_by_name := true, hive_partitioning := false
    )
    UNION ALL BY NAME
    SELECT toot.* EXCLUDE (filename)
    FROM
        read_parquet(
            getvariable('toots_base'),
            union_by_name := true,
            hive_partitioning := false,
            filename := true
        ) AS toot
    ANTI JOIN
        read_parquet(getvariable('toots_replaced')) AS replaced
        ON replaced.file = toot.filename AND replaced.uri = toot.uri
    UNION ALL BY NAME
    FROM read_parquet(
        getvariable('toots_local'), union_by_name := true, hive_partitioning := false
    )
)
WHERE
    created_at >= getvariable('since')
    AND created_at < getvariable('until')
    AND (len(getvariable('servers')) = 0 OR list_contains(getvariable('servers'), server))
    AND (
        len(getvariable('languages')) = 0
        OR list_contains(getvariable('languages'), language_primary)
    )
    AND CASE getvariable('bots')
        WHEN 'without' THEN NOT bot
        WHEN 'only' THEN bot
        ELSE true
    END;
