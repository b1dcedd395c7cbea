-- Of these files, those that still name people or servers that were forgotten, with the toots'
-- addresses in them. Where nobody is named any more, hashtags of theirs may be left.
SELECT
    filename,
    list(DISTINCT uri) AS uris
FROM read_parquet(
    $files, union_by_name := true, hive_partitioning := false, filename := true
)
WHERE
    (
        concerns_forgotten($salt, $accounts, $servers, username, acct, server, uri)
        AND (NOT is_nameless_uri(uri) OR len(tag_names) > 0)
    )
    OR (list_contains($uris, uri) AND NOT is_nameless_uri(uri))
GROUP BY filename
ORDER BY filename;
