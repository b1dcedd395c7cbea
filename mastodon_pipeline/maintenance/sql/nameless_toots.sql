-- An hour's toots without what would name the people and servers that were forgotten, or anybody past
-- PERSON_RETENTION_DAYS: the same as a build of nameless records gives, for an hour whose landed files
-- are gone.
COPY (
    SELECT
        * EXCLUDE (forgotten, gone) REPLACE (
            if(gone, nameless_uri($salt, uri), uri) AS uri,
            if(gone, nameless_id($salt, base_url, status_id), status_id) AS status_id,
            if(gone, nameless_user($salt, username, acct, server), username) AS username,
            if(gone, nameless_acct($salt, username, acct, server), acct) AS acct,
            if(gone, '', url) AS url,
            if(gone, '', mastodon_text) AS mastodon_text,
            if(forgotten, [], tag_names) AS tag_names
        )
    FROM (
        SELECT
            *,
            concerns_forgotten($salt, $accounts, $servers, username, acct, server, uri)
                AS forgotten,
            forgotten OR is_past_retention(created_at, $persons_until) AS gone
        FROM read_parquet($file, hive_partitioning := false)
    )
    ORDER BY server, created_at, uri
) TO $path (FORMAT parquet, COMPRESSION zstd, KV_METADATA {built_from: $built_from});
