-- One hour's toots by the author's home server; toots deleted since count, as they were published.
COPY (
    SELECT
        $hour_start::TIMESTAMPTZ AS hour,
        server,
        count(*) AS toots,
        count(DISTINCT username) AS users,
        count(DISTINCT username) FILTER (bot) AS bots,
        count(*) FILTER (reply) AS replies,
        count(DISTINCT language_primary) FILTER (language_primary <> '') AS languages,
        len(list_distinct(flatten(list(seen_by))))::BIGINT AS seen_by
    FROM read_parquet($toots_files, union_by_name := true, hive_partitioning := false)
    GROUP BY server
    ORDER BY server
) TO $path (FORMAT parquet, COMPRESSION zstd, KV_METADATA {built_from: $built_from});
