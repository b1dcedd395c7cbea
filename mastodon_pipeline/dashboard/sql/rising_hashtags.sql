-- The hashtags that were used more than expected since a moment: than on average in the windows of
-- the same hours before. In the order of how unlikely that is, were nothing different.
WITH counted AS (
    SELECT
        arg_max(spelling, toots) AS hashtag,
        coalesce(sum(toots) FILTER (hour >= $since), 0)::BIGINT AS toots,
        coalesce(sum(toots) FILTER (hour < $since), 0)::BIGINT / $windows AS expected
    FROM read_parquet($files, union_by_name := true, hive_partitioning := false)
    GROUP BY tag
)

SELECT
    hashtag,
    toots,
    round(expected, 1) AS expected
FROM counted
WHERE toots >= $least AND toots > expected
ORDER BY (toots - expected) / sqrt(expected + 1) DESC, hashtag
LIMIT $most;
