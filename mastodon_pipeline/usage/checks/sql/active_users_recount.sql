-- Servers whose active users differ from a recount: the day's from its toots, by the accounts' names,
-- or pseudonyms if there is a salt;
-- the four weeks' by distinct accounts, where the table groups them; and weeks that are impossible.
WITH toot AS (
    SELECT
        server,
        bot,
        if($salt = '', username, nameless_user($salt, username, acct, server)) AS account
    FROM read_parquet($toots_files, union_by_name := true, hive_partitioning := false)
),

of_day AS (
    SELECT
        server,
        count(*) AS toots,
        count(DISTINCT account) AS accounts,
        count(DISTINCT account) FILTER (bot) AS bots
    FROM toot
    GROUP BY server
),

of_month AS (
    SELECT
        server,
        count(DISTINCT account) AS accounts
    FROM read_parquet($accounts_files, hive_partitioning := false)
    GROUP BY server
),

recount AS (
    SELECT
        of_month.server,
        coalesce(of_day.toots, 0) AS toots,
        coalesce(of_day.accounts, 0) AS accounts,
        coalesce(of_day.bots, 0) AS bots,
        of_month.accounts AS of_month
    FROM of_month
    LEFT JOIN of_day USING (server)
),

expected AS (
    SELECT
        coalesce(server, 'ALL') AS server,
        coalesce(sum(toots), 0) AS toots,
        coalesce(sum(accounts), 0) AS accounts,
        coalesce(sum(bots), 0) AS bots,
        coalesce(sum(of_month), 0) AS of_month
    FROM recount
    GROUP BY GROUPING SETS ((), (server))
),

counted AS (
    SELECT
        *,
        people + bots AS accounts,
        people_7_days + bots_7_days AS of_week,
        people_28_days + bots_28_days AS of_month
    FROM read_parquet($table_file, hive_partitioning := false)
)

SELECT
    coalesce(counted.server, expected.server) AS server,
    counted.toots AS toots,
    expected.toots AS toots_recounted,
    counted.accounts AS accounts,
    expected.accounts AS accounts_recounted,
    counted.of_month AS of_month,
    expected.of_month AS of_month_recounted
FROM counted
FULL JOIN expected ON expected.server = counted.server
WHERE
    (counted.day, counted.toots, counted.accounts, counted.bots, counted.of_month)
    IS DISTINCT FROM (
        $day::DATE, expected.toots, expected.accounts, expected.bots, expected.of_month
    )
    OR counted.of_week NOT BETWEEN counted.accounts AND counted.of_month
ORDER BY ALL
LIMIT $limit;
