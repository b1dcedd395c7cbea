-- One UTC day's toots in one row. An account is a name on a home server; of equally frequent ones
-- the alphabetically first is named.
COPY (
    WITH toot AS (
        SELECT
            server,
            username || '@' || server AS account,
            bot
        FROM read_parquet($toots_files, union_by_name := true, hive_partitioning := false)
    ),

    frequency AS (
        SELECT
            account,
            bot,
            count(*) AS toots
        FROM toot
        GROUP BY account, bot
    ),

    by_server AS (
        SELECT
            server,
            count(*) AS toots
        FROM toot
        GROUP BY server
    )

    SELECT
        $day::DATE AS day,
        count(*) AS toots,
        count(DISTINCT account) AS users,
        count(DISTINCT server) AS servers,
        (
            SELECT account FROM frequency WHERE NOT bot ORDER BY toots DESC, account LIMIT 1
        ) AS most_frequent_non_bot,
        (
            SELECT account FROM frequency WHERE bot ORDER BY toots DESC, account LIMIT 1
        ) AS most_frequent_bot,
        (
            SELECT server FROM by_server ORDER BY toots DESC, server LIMIT 1
        ) AS most_frequent_server
    FROM toot
) TO $path (FORMAT parquet, COMPRESSION zstd, KV_METADATA {built_from: $built_from});
