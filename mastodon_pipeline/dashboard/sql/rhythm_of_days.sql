-- Toots by weekday and hour of the day (UTC), on average of these days.
SELECT
    isodow(day)::INTEGER AS weekday,
    hour_of_day,
    round(avg(toots), 1) AS toots
FROM hour_of_day_usage
WHERE day BETWEEN $first AND $last
GROUP BY ALL
ORDER BY ALL;
