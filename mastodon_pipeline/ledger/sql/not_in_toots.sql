-- How many toots of an hour's landed records are in no table, by the server that listed them.
-- Neighbouring hours count as well: a toot of a clock that runs ahead is left out of one of them.
WITH listed AS (
    SELECT DISTINCT
        base_url,
        coalesce(nullif(uri, ''), base_url || '#' || status_id) AS uri
    FROM read_parquet($raw_files, union_by_name := true, hive_partitioning := false)
    WHERE
        event IS DISTINCT FROM 'delete'
        AND created_at >= $hour_start::TIMESTAMPTZ
        AND created_at < $hour_start::TIMESTAMPTZ + INTERVAL 1 HOUR
)

SELECT
    base_url,
    count(*) AS toots
FROM listed
ANTI JOIN read_parquet(
    $toots_files, union_by_name := true, hive_partitioning := false
) AS toot USING (uri)
GROUP BY base_url
ORDER BY base_url;
