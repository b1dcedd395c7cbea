-- What the most trusted server's newest record says of each toot of an hour, and who listed it: of
-- $slice of $slices, by the toots' hash.
--
-- It shares nothing with the query of `toots`: whole rows are aggregated by arg_max. Left out are
-- the toots that the previous hour counts under a time that the listener wrote.
COPY (
    WITH previous AS (
        SELECT uri
        FROM read_parquet($previous_toots, union_by_name := true, hive_partitioning := false)
        WHERE created_at = ingested_at + $future_tolerance
    ),

    record AS (
        SELECT
            if(coalesce(uri, '') = '', concat(base_url, '#', status_id), uri) AS toot,
            base_url,
            {
                server: coalesce(server, ''),
                username: coalesce(username, ''),
                bot: coalesce(bot, false),
                reply: coalesce(reply, false),
                language_primary: coalesce(language_primary, '')
            } AS reported,
            (
                -- The server that answers at the uri, then one whose own account it is, then others.
                coalesce(prefix(uri, concat(base_url, '/')), false),
                coalesce(strpos(uri, concat('://', server, '/')) > 0, false)
                AND coalesce(acct, '') NOT LIKE '%@%',
                coalesce(
                    strpos(uri, concat('://', server, '/')) > 0
                    OR strpos(uri, concat('.', server, '/')) > 0,
                    false
                ),
                coalesce(edited_at, created_at),
                coalesce(ingested_at, to_timestamp(0)),
                coalesce(kafka_partition, _partition),
                coalesce(kafka_offset, _offset)
            ) AS age
        FROM read_parquet($raw_files, union_by_name := true, hive_partitioning := false)
        WHERE
            created_at >= $hour_start::TIMESTAMPTZ
            AND created_at < $hour_start::TIMESTAMPTZ + INTERVAL 1 HOUR
            AND event IS DISTINCT FROM 'delete'
            AND coalesce(uri, '') NOT IN (SELECT previous.uri FROM previous)
    )

    SELECT
        unnest(arg_max(reported, age)),
        list(DISTINCT base_url) AS observers
    FROM record
    WHERE hash(toot) % $slices = $slice
    GROUP BY toot
) TO $path (FORMAT parquet);
