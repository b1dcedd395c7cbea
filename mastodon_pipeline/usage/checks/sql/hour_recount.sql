-- Servers whose row in toots_per_server_per_hour differs from a recount of the landed records.
-- The recount shares nothing with the way of the table: no toots file between, aggregates by
-- arg_max where the table's way sorts. Left out are the toots that the hour before has under a time
-- of the listener's own.
WITH told_before AS (
    SELECT uri
    FROM read_parquet($toots_before, union_by_name := true, hive_partitioning := false)
    WHERE created_at = ingested_at + $ahead
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
        } AS told,
        (
            coalesce(edited_at, created_at),
            coalesce(ingested_at, to_timestamp(0)),
            _partition,
            _offset
        ) AS age
    FROM read_parquet($raw_files, union_by_name := true, hive_partitioning := false)
    WHERE
        event IS DISTINCT FROM 'delete'
        AND coalesce(uri, '') NOT IN (SELECT told_before.uri FROM told_before)
),

recount AS (
    SELECT
        server,
        count(*) AS toots,
        count(DISTINCT username) AS users,
        count(DISTINCT if(bot, username, NULL)) AS bots,
        sum(reply::INTEGER) AS replies,
        count(DISTINCT nullif(language_primary, '')) AS languages
    FROM (SELECT unnest(arg_max(told, age)) FROM record GROUP BY toot)
    GROUP BY server
),

observers AS (
    SELECT
        newest_server AS server,
        count(DISTINCT base_url) AS seen_by
    FROM (
        SELECT
            base_url,
            arg_max(told.server, age) OVER (PARTITION BY toot) AS newest_server
        FROM record
    )
    GROUP BY ALL
),

claimed AS (
    SELECT * FROM read_parquet($usage_file, hive_partitioning := false)
)

SELECT
    coalesce(claimed.server, recount.server) AS server,
    claimed.toots AS toots,
    recount.toots AS toots_recounted,
    claimed.users AS users,
    recount.users AS users_recounted,
    claimed.bots AS bots,
    recount.bots AS bots_recounted,
    claimed.replies AS replies,
    recount.replies AS replies_recounted,
    claimed.languages AS languages,
    recount.languages AS languages_recounted,
    claimed.seen_by AS seen_by,
    observers.seen_by AS seen_by_recounted
FROM claimed
FULL JOIN recount ON recount.server = claimed.server
LEFT JOIN observers ON observers.server = recount.server
WHERE
    (
        claimed.hour,
        claimed.toots,
        claimed.users,
        claimed.bots,
        claimed.replies,
        claimed.languages,
        claimed.seen_by
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
