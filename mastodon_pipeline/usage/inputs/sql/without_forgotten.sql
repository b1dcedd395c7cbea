-- An hour's records, without what would name the people and servers that were forgotten: text,
-- hashtags, address and page of the toot, and the account's name are gone, and everything that is
-- counted stays. The deletes of their toots follow them.
COPY (
    WITH record AS MATERIALIZED (
        SELECT
            *,
            concerns_forgotten($salt, $accounts, $servers, username, acct, server, uri) AS named
        FROM read_parquet($files, union_by_name := true, hive_partitioning := false)
        WHERE created_at >= $hour_start AND created_at < $hour_end
    ),

    target AS (
        SELECT DISTINCT
            uri,
            base_url,
            status_id
        FROM record
        WHERE named AND coalesce(event, 'update') <> 'delete'
    ),

    judged AS (
        SELECT
            *,
            named
            OR (coalesce(uri, '') <> '' AND uri IN (SELECT target.uri FROM target))
            OR (
                event = 'delete'
                AND (base_url, status_id) IN (
                    SELECT (target.base_url, target.status_id) FROM target
                )
            ) AS gone
        FROM record
    )

    SELECT
        * EXCLUDE (named, gone) REPLACE (
            if(gone, nameless_uri($salt, uri), uri) AS uri,
            if(gone, nameless_id($salt, base_url, status_id), status_id) AS status_id,
            if(gone, nameless_user($salt, username, acct, server), username) AS username,
            if(gone, nameless_acct($salt, username, acct, server), acct) AS acct,
            if(gone, '', url) AS url,
            if(gone, '', mastodon_text) AS mastodon_text,
            if(gone, [], tag_names) AS tag_names
        )
    FROM judged
) TO $path (FORMAT parquet, COMPRESSION zstd);
