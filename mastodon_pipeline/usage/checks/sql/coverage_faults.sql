-- Servers of which more was counted than they report, or of whose newest week much less was
-- counted than of their earlier ones. Weeks in which nothing was counted are from before listening.
WITH week AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY base_url ORDER BY first_day DESC) AS age
    FROM read_parquet($coverage_file, hive_partitioning := false)
    WHERE first_day IS NOT NULL
),

earlier AS (
    SELECT
        base_url,
        median(share) AS share,
        count(*) AS weeks
    FROM week
    WHERE age > 1 AND toots > 0
    GROUP BY base_url
)

SELECT
    server,
    first_day,
    last_day,
    toots,
    reported,
    NULL AS earlier_share
FROM week
WHERE toots > reported * 1.01 + 1

UNION ALL

SELECT
    server,
    first_day,
    last_day,
    toots,
    reported,
    earlier.share AS earlier_share
FROM week
JOIN earlier USING (base_url)
WHERE
    age = 1
    AND reported >= $min_statuses
    AND earlier.weeks >= $min_earlier_weeks
    AND week.share < earlier.share * $min_share_of_earlier
ORDER BY ALL;
