-- The columns of a landed file that may name people, without those that were forgotten, or anybody
-- past PERSON_RETENTION_DAYS, in the order of the file's rows.
SELECT
    if(gone, nameless_uri($salt, uri), uri) AS uri,
    if(gone, nameless_id($salt, base_url, status_id), status_id) AS status_id,
    if(gone, nameless_user($salt, username, acct, server), username) AS username,
    if(gone, nameless_acct($salt, username, acct, server), acct) AS acct,
    if(gone, '', url) AS url,
    if(gone, '', mastodon_text) AS mastodon_text,
    if(forgotten, [], tag_names) AS tag_names
FROM (
    SELECT
        *,
        concerns_forgotten($salt, $accounts, $servers, username, acct, server, uri)
        OR list_contains($uris, uri) AS forgotten,
        forgotten OR is_past_retention(created_at, $persons_until) AS gone
    FROM read_parquet(
        $files, union_by_name := true, hive_partitioning := false, file_row_number := true
    )
)
ORDER BY file_row_number;
