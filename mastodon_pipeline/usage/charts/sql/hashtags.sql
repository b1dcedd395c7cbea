-- A day's $top most used hashtags, in their most used spelling, and how many different ones there were.
WITH usage AS (
    SELECT
        tag,
        max_by(spelling, toots) AS spelling,
        sum(toots)::BIGINT AS toots
    FROM read_parquet($files, hive_partitioning := false)
    GROUP BY tag
)

SELECT
    spelling,
    toots,
    count(*) OVER () AS hashtags
FROM usage
ORDER BY toots DESC, tag
LIMIT $top;
