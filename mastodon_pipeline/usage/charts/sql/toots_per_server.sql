-- A day's toots per hour for its $top busiest servers; the rest as one.
WITH usage AS (
    SELECT
        hour,
        server,
        toots
    FROM read_parquet($files, hive_partitioning := false)
),

ranked AS (
    SELECT
        server,
        row_number() OVER (ORDER BY sum(toots) DESC, server) AS place
    FROM usage
    GROUP BY server
)

SELECT
    date_part('hour', hour)::INTEGER AS hour_of_day,
    if(place <= $top, server, 'other servers') AS server,
    sum(toots)::BIGINT AS toots
FROM usage
JOIN ranked USING (server)
GROUP BY ALL
ORDER BY min(place), hour_of_day;
