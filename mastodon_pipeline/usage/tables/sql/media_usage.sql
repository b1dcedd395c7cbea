-- One UTC day's toots by home server: how many have more than text, and which part that is.
--
-- Whether a toot quotes, and its links, are null if it was recorded before these were: the shares
-- are those of the toots of which it is known.
COPY (
    SELECT
        $day::DATE AS day,
        server,
        count(*) AS toots,
        count(*) FILTER (media > 0) AS with_media,
        count(*) FILTER (has_poll) AS with_poll,
        count(*) FILTER (sensitive) AS with_warning,
        count(*) FILTER (has_quote) AS with_quote,
        count(*) FILTER (reply) AS self_replies,
        count(*) FILTER (links > 0) AS with_links,
        avg((media > 0)::INTEGER) AS media_share,
        avg(has_poll::INTEGER) AS poll_share,
        avg(sensitive::INTEGER) AS warning_share,
        avg(has_quote::INTEGER) AS quote_share,
        avg(reply::INTEGER) AS self_reply_share,
        avg((links > 0)::INTEGER) AS link_share
    FROM read_parquet($toots_files, union_by_name := true, hive_partitioning := false)
    GROUP BY server
    ORDER BY toots DESC, server
) TO $path (FORMAT parquet, COMPRESSION zstd, KV_METADATA {built_from: $built_from});
