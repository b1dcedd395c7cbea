-- The hashtags of these hours' files of `hashtag_usage`, the most used first.
SELECT
    arg_max(spelling, toots) AS hashtag,
    sum(toots)::BIGINT AS toots
FROM read_parquet($files, union_by_name := true, hive_partitioning := false)
GROUP BY tag
ORDER BY toots DESC, tag
LIMIT $most;
