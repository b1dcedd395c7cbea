-- The accounts that posted, by day: on it, in the week and in the four weeks that end with it.
SELECT
    strftime(day, '%Y-%m-%d') AS moment,
    unnest(['the day', '7 days', '28 days']) AS span,
    unnest([
        sum($of_people * people + $of_bots * bots),
        sum($of_people * people_7_days + $of_bots * bots_7_days),
        sum($of_people * people_28_days + $of_bots * bots_28_days)
    ])::BIGINT AS accounts
FROM active_users
WHERE
    day BETWEEN $first AND $last
    AND if(len($servers) = 0, server = 'ALL', list_contains($servers, server))
GROUP BY day
ORDER BY day, accounts;
