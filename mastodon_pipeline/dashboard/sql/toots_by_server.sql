-- Toots by step and home server; servers beyond the busiest ones are one, 'others'.
WITH counted AS (
    SELECT
        time_bucket($width, moment, TIMESTAMPTZ '2016-01-01 00:00:00+00') AS moment,
        server,
        sum(toots)::BIGINT AS toots
    FROM {source}
    WHERE
        moment >= $since
        AND moment < $until
        AND (len($servers) = 0 OR list_contains($servers, server))
    GROUP BY ALL
),

busiest AS (
    SELECT server
    FROM counted
    GROUP BY server
    ORDER BY sum(toots) DESC, server
    LIMIT $most
)

SELECT
    strftime(moment, '%Y-%m-%dT%H:%M:%SZ') AS moment,
    if(server IN (FROM busiest), server, $others) AS server,
    sum(toots)::BIGINT AS toots
FROM counted
GROUP BY ALL
ORDER BY moment, toots DESC, server;
