-- The accounts that posted today, within 7 and within 28 days, and within as many days before.
-- Those up to today are NULL until today's table is built.
WITH counted AS (
    SELECT
        day,
        sum($of_people * people + $of_bots * bots) AS day_accounts,
        sum($of_people * people_7_days + $of_bots * bots_7_days) AS week_accounts,
        sum($of_people * people_28_days + $of_bots * bots_28_days) AS month_accounts
    FROM active_users
    WHERE if(len($servers) = 0, server = 'ALL', list_contains($servers, server))
    GROUP BY day
),

built AS (
    SELECT count(*) > 0 AS today
    FROM active_users
    WHERE day = $today
)

SELECT
    if(built.today, coalesce(sum(day_accounts) FILTER (day = $today), 0), NULL)::BIGINT AS today,
    coalesce(sum(day_accounts) FILTER (day = $today - 1), 0)::BIGINT AS yesterday,
    if(built.today, coalesce(sum(week_accounts) FILTER (day = $today), 0), NULL)::BIGINT AS week,
    coalesce(sum(week_accounts) FILTER (day = $today - 7), 0)::BIGINT AS week_before,
    if(built.today, coalesce(sum(month_accounts) FILTER (day = $today), 0), NULL)::BIGINT AS month,
    coalesce(sum(month_accounts) FILTER (day = $today - 28), 0)::BIGINT AS month_before
FROM built
LEFT JOIN counted ON true
GROUP BY built.today;
