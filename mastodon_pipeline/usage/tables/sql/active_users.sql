-- How many accounts posted on a UTC day, and on the seven and 28 days that end with it, by home
-- server. An account belongs to one server, so the servers' figures add up to those of ALL.
COPY (
    WITH posted AS (
        -- The day's own file is among the week's, and those are among the 28 days': it counts once.
        SELECT
            *,
            0 AS age
        FROM read_parquet($of_day, hive_partitioning := false)
        UNION ALL
        SELECT
            *,
            1 AS age
        FROM read_parquet($of_week, hive_partitioning := false)
        UNION ALL
        SELECT
            *,
            2 AS age
        FROM read_parquet($of_month, hive_partitioning := false)
    ),

    account AS (
        -- Null where the account did not post; a bot if any of its toots of these days is marked so.
        SELECT
            server,
            account,
            bool_or(bot) FILTER (age = 0) AS bot_of_day,
            bool_or(bot) FILTER (age <= 1) AS bot_of_week,
            bool_or(bot) AS bot_of_month
        FROM posted
        GROUP BY ALL
    ),

    by_server AS (
        SELECT
            server,
            count(*) FILTER (NOT bot_of_day) AS people,
            count(*) FILTER (NOT bot_of_week) AS people_7_days,
            count(*) FILTER (NOT bot_of_month) AS people_28_days,
            count(*) FILTER (bot_of_day) AS bots,
            count(*) FILTER (bot_of_week) AS bots_7_days,
            count(*) FILTER (bot_of_month) AS bots_28_days
        FROM account
        GROUP BY server
    ),

    counted AS (
        SELECT unnest($toots::STRUCT(server VARCHAR, toots BIGINT)[], recursive := true)
    ),

    usage AS (
        SELECT
            by_server.*,
            coalesce(counted.toots, 0) AS toots
        FROM by_server
        LEFT JOIN counted USING (server)
    )

    SELECT
        $day::DATE AS day,
        coalesce(server, $all) AS server,
        coalesce(sum(toots), 0)::BIGINT AS toots,
        coalesce(sum(people), 0)::BIGINT AS people,
        coalesce(sum(people_7_days), 0)::BIGINT AS people_7_days,
        coalesce(sum(people_28_days), 0)::BIGINT AS people_28_days,
        coalesce(sum(bots), 0)::BIGINT AS bots,
        coalesce(sum(bots_7_days), 0)::BIGINT AS bots_7_days,
        coalesce(sum(bots_28_days), 0)::BIGINT AS bots_28_days
    FROM usage
    GROUP BY GROUPING SETS ((), (server))
    ORDER BY grouping(server) DESC, toots DESC, people_28_days DESC, server
) TO $path (
    FORMAT parquet,
    COMPRESSION zstd,
    KV_METADATA {built_from: $built_from, accounts: $accounts}
);
