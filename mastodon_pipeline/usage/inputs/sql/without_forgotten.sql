-- An hour's records, without what would name the people and servers that were forgotten: text,
-- hashtags, address and page of the toot, and the account's name are gone, and everything that is
-- counted stays. The deletes of their toots follow them. Past PERSON_RETENTION_DAYS this is so for
-- everybody, but for the hashtags.
--
-- Left out are toots that the previous hour counts under a time that the listener wrote (see
-- clock_skew.py), if that hour is past the retention and this one is not: there they are nameless.
COPY (
    WITH record AS NOT MATERIALIZED (
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

    counted AS (
        SELECT uri
        FROM read_parquet($nameless_previous, union_by_name := true, hive_partitioning := false)
        WHERE created_at = ingested_at + $future_tolerance
    ),

    judged AS (
        SELECT
            *,
            named
            OR (coalesce(uri, '') <> '' AND uri IN (SELECT target.uri FROM target))
            OR (
                event = 'delete'
                AND (
                    (base_url, status_id) IN (
                        SELECT (target.base_url, target.status_id) FROM target
                    )
                    -- Their toots may be nameless already, and their deletes not.
                    OR nameless_uri($salt, nullif(uri, '')) IN (SELECT target.uri FROM target)
                    OR (base_url, nameless_id($salt, base_url, nullif(status_id, ''))) IN (
                        SELECT (target.base_url, target.status_id) FROM target
                    )
                )
            ) AS forgotten
        FROM record
    )

    SELECT
        * EXCLUDE (named, forgotten, gone) REPLACE (
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
            forgotten OR is_past_retention(created_at, $persons_until) AS gone
        FROM judged
    )
    WHERE
        (SELECT count(*) FROM counted) = 0
        OR coalesce(nameless_uri($salt, uri), '') NOT IN (SELECT counted.uri FROM counted)
) TO $path (FORMAT parquet, COMPRESSION zstd);
