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
--
-- Grouped are narrow columns alone: of each uri the place of its newest version, by which the wide
-- row is then picked. The records of a busy hour, a million and a half, thereby fit in 2 GB.
COPY (
    WITH record AS MATERIALIZED (
        SELECT
            file_index,
            file_row_number,
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

    removal AS (
        SELECT uri, base_url, status_id FROM record WHERE event = 'delete'
    ),

    toot AS (
        SELECT
            uri,
            arg_max(
                (file_index, file_row_number),
                (coalesce(edited_at, created_at), ingested_at, _partition, _offset)
            ) AS newest,
            list_sort(list_distinct(list(base_url))) AS seen_by,
            max(app) AS app,
            bool_or(mastodon_text = '' AND characters > 0) AS withheld
        FROM record
        ANTI JOIN told_before USING (uri)
        WHERE event <> 'delete'
        GROUP BY uri
    ),

    deleted AS (
        SELECT uri FROM removal
        UNION
        SELECT record.uri
        FROM record
        SEMI JOIN (
            SELECT * FROM removal WHERE status_id <> ''
        ) AS named USING (base_url, status_id)
        WHERE event <> 'delete'
    )

    SELECT
        event,
        record.uri,
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
        toot.app,
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
    FROM record
    JOIN toot
        ON toot.uri = record.uri AND toot.newest = (record.file_index, record.file_row_number)
    LEFT JOIN deleted ON deleted.uri = record.uri
    ORDER BY server, created_at, record.uri
) TO $path (FORMAT parquet, COMPRESSION zstd, KV_METADATA {built_from: $built_from});
