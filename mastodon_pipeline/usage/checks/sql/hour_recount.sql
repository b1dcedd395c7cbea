-- Servers whose row in toots_per_server_per_hour differs from a recount of the landed records.
-- The recount shares nothing with the queries of the table: it reads no toots file, and aggregates
-- whole rows by arg_max, the most trusted server's first. Left out are the toots that the previous
-- hour counts under a time that the listener wrote.
WITH previous AS (
    SELECT uri
    FROM read_parquet($previous_toots, union_by_name := true, hive_partitioning := false)
    WHERE created_at = ingested_at + $future_tolerance
),

record AS MATERIALIZED (
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
            coalesce(regexp_matches(uri, concat('(://|[.])', regexp_escape(server), '/')), false),
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
),

recount AS (
    SELECT
        server,
        count(*) AS toots,
        count(DISTINCT username) AS users,
        count(DISTINCT if(bot, username, NULL)) AS bots,
        sum(reply::INTEGER) AS replies,
        count(DISTINCT nullif(language_primary, '')) AS languages
    FROM (SELECT unnest(arg_max(reported, age)) FROM record GROUP BY toot)
    GROUP BY server
),

observers AS (
    SELECT
        newest_server AS server,
        count(DISTINCT base_url) AS seen_by
    FROM (
        SELECT
            base_url,
            arg_max(reported.server, age) OVER (PARTITION BY toot) AS newest_server
        FROM record
    )
    GROUP BY ALL
),

counted AS (
    SELECT * FROM read_parquet($usage_file, hive_partitioning := false)
)

SELECT
    coalesce(counted.server, recount.server) AS server,
    counted.toots AS toots,
    recount.toots AS toots_recounted,
    counted.users AS users,
    recount.users AS users_recounted,
    counted.bots AS bots,
    recount.bots AS bots_recounted,
    counted.replies AS replies,
    recount.replies AS replies_recounted,
    counted.languages AS languages,
    recount.languages AS languages_recounted,
    counted.seen_by AS seen_by,
    observers.seen_by AS seen_by_recounted
FROM counted
FULL JOIN recount ON recount.server = counted.server
LEFT JOIN observers ON observers.server = recount.server
WHERE
    (
        counted.hour,
        counted.toots,
        counted.users,
        counted.bots,
        counted.replies,
        counted.languages,
        counted.seen_by
    ) IS DISTINCT FROM (
        $hour_start::TIMESTAMPTZ,
        recount.toots,
        recount.users,
        recount.bots,
        recount.replies,
        recount.languages,
        observers.seen_by
    )
ORDER BY server;
