-- Servers whose row in toots_per_server_per_hour differs from a recount of what was reported (see
-- reported_toots.sql).
WITH reported AS (
    FROM read_parquet($reported_files)
),

recount AS (
    SELECT
        server,
        count(*) AS toots,
        count(DISTINCT username) AS users,
        count(DISTINCT if(bot, username, NULL)) AS bots,
        sum(reply::INTEGER) AS replies,
        count(DISTINCT nullif(language_primary, '')) AS languages
    FROM reported
    GROUP BY server
),

observers AS (
    SELECT
        server,
        count(DISTINCT observer) AS seen_by
    FROM (SELECT server, unnest(observers) AS observer FROM reported)
    GROUP BY server
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
