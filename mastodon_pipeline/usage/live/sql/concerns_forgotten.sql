-- Whether new records of an hour concern people or servers that were forgotten: by name, or as deletes
-- of toots that are known without one.
WITH record AS NOT MATERIALIZED (
    SELECT * FROM read_parquet($files, union_by_name := true, hive_partitioning := false)
    WHERE created_at >= $hour_start AND created_at < $hour_end
),

known AS NOT MATERIALIZED (
    SELECT
        uri,
        base_url,
        status_id
    FROM known_record
    WHERE hour = $hour_start
)

SELECT count(*)
FROM record
WHERE
    concerns_forgotten($salt, $accounts, $servers, username, acct, server, uri)
    OR (
        event = 'delete'
        AND (
            nameless_uri($salt, nullif(uri, '')) IN (SELECT known.uri FROM known)
            OR (base_url, nameless_id($salt, base_url, nullif(status_id, ''))) IN (
                SELECT (known.base_url, known.status_id) FROM known
            )
        )
    );
