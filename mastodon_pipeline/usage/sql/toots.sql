-- One hour's toots, each once: the landed records of one hour folder, made one row per uri.
--
-- * Copies of a record (the sink delivers at least once) and the same toot as told by several
--   servers have one uri, so both fall together here.
-- * The newest edit wins, whatever order the records arrived in.
-- * A delete leaves the row, since the toot was published and counts, but neither text nor
--   hashtags. A delete that names no uri is resolved by the observing server's own status id.
--   A delete whose toot was never seen gives no row.
-- * Only the home server tells the posting application; the other copies leave it empty.
-- * Where any server withheld the text (the author said noindex), no other copy brings it back.
-- * A toot that the hour before has under a time of the listener's own (see clamped.py) is its.
COPY (
    WITH record AS (
        SELECT
            coalesce(event, 'update') AS event,
            coalesce(nullif(uri, ''), base_url || '#' || status_id) AS uri,
            created_at::TIMESTAMPTZ AS created_at,
            edited_at::TIMESTAMPTZ AS edited_at,
            coalesce(ingested_at::TIMESTAMPTZ, to_timestamp(0)) AS ingested_at,
            coalesce(source, 'stream') AS source,
            coalesce(tag_names, []) AS tag_names,
            indexable,
            coalesce(COLUMNS([
                'status_id', 'base_url', 'server', 'username', 'acct', 'app', 'url', 'language',
                'language_primary', 'mastodon_text', 'visibility'
            ]), ''),
            coalesce(COLUMNS([
                'favourites', 'tags', 'characters', 'words', 'mentions', 'media'
            ]), 0),
            coalesce(COLUMNS(['bot', 'sensitive', 'reply']), false),
            _partition,
            _offset
        FROM read_parquet($raw_files, union_by_name := true, hive_partitioning := false)
    ),

    told_before AS (
        SELECT uri
        FROM read_parquet($toots_before, union_by_name := true, hive_partitioning := false)
        WHERE created_at = ingested_at + $ahead
    ),

    version AS (
        SELECT *
        FROM record
        ANTI JOIN told_before USING (uri)
        WHERE event <> 'delete'
    ),

    newest AS (
        SELECT DISTINCT ON (uri) *
        FROM version
        ORDER BY
            uri,
            coalesce(edited_at, created_at) DESC,
            ingested_at DESC,
            _partition DESC,
            _offset DESC
    ),

    observed AS (
        SELECT
            uri,
            list_sort(list(DISTINCT base_url)) AS seen_by,
            max(app) AS app,
            bool_or(mastodon_text = '' AND characters > 0) AS withheld
        FROM version
        GROUP BY uri
    ),

    deleted AS (
        SELECT uri FROM record WHERE event = 'delete'
        UNION
        SELECT version.uri
        FROM version
        SEMI JOIN (
            SELECT base_url, status_id FROM record WHERE event = 'delete' AND status_id <> ''
        ) AS removal USING (base_url, status_id)
    )

    SELECT
        event,
        newest.uri,
        status_id,
        base_url,
        server,
        created_at,
        edited_at,
        ingested_at,
        source,
        username,
        acct,
        bot,
        observed.app,
        url,
        language,
        language_primary,
        favourites,
        tags,
        if(deleted.uri IS NULL, tag_names, []) AS tag_names,
        characters,
        words,
        mentions,
        media,
        if(deleted.uri IS NULL AND NOT withheld, mastodon_text, '') AS mastodon_text,
        visibility,
        sensitive,
        reply,
        indexable,
        seen_by,
        deleted.uri IS NOT NULL AS deleted
    FROM newest
    JOIN observed ON observed.uri = newest.uri
    LEFT JOIN deleted ON deleted.uri = newest.uri
    ORDER BY server, created_at, newest.uri
) TO $path (FORMAT parquet, COMPRESSION zstd, KV_METADATA {built_from: $built_from});
