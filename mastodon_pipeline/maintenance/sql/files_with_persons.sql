-- Of these files, those with records from past PERSON_RETENTION_DAYS that still name somebody.
SELECT DISTINCT filename
FROM read_parquet(
    $files, union_by_name := true, hive_partitioning := false, filename := true
)
WHERE
    is_past_retention(created_at, $persons_until)
    AND NOT is_nameless(uri, status_id, username, acct, url, mastodon_text)
ORDER BY filename;
