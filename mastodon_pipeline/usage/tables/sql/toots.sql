-- One hour's toots, each once: its records in the landed files, made one row per uri.
--
-- * Copies of a record (the sink delivers at least once) and reports of a toot by several servers
--   have one uri, so they are grouped into one row here.
-- * A toot's home server speaks for it, as far as it is listened to; what others say of the toot
--   counts less, the more so the less likely it is (`authority`). Of equal authority the newest edit
--   wins, whatever order the records arrived in.
-- * A delete leaves the row, since the toot was published and counts, but neither text nor
--   hashtags. A delete that names no uri is resolved by the observing server's own status id.
--   A delete whose toot was never seen gives no row. Another server's delete, perhaps a moderator's
--   of their copy, counts only if the home server would not report its own: it was not streamed.
-- * Only the home server names the posting application; the other servers' records leave it empty.
-- * If the text was withheld (the author opted out), no record of that authority brings it back,
--   nor the hashtags. $past_retention: all texts are gone since PERSON_RETENTION_DAYS, and the
--   author has opted out if hashtags are missing as well.
-- * A toot that the previous hour counts under a time that the listener wrote is left out (see
--   clock_skew.py).
-- * Fields that are only carried along are named nowhere: $texts, $numbers, $flags, $lists and
--   $nullable list the record's fields by their defaults. The columns are in the record's order.
--
-- Only narrow columns are grouped: for each uri the position of its newest version, by which the
-- wide row is then picked. So a million and a half records fit in 2 GB; of a busier hour this makes
-- one slice of its toots, $slice of $slices, for which it reads all deletes.
COPY (
    WITH record AS MATERIALIZED (
        SELECT
            file_index,
            file_row_number,
            coalesce(kafka_partition, _partition) AS kafka_partition,
            coalesce(kafka_offset, _offset) AS kafka_offset,
            coalesce(event, 'update') AS event,
            coalesce(nullif(uri, ''), base_url || '#' || status_id) AS uri,
            created_at::TIMESTAMPTZ AS created_at,
            edited_at::TIMESTAMPTZ AS edited_at,
            coalesce(ingested_at::TIMESTAMPTZ, to_timestamp(0)) AS ingested_at,
            coalesce(source, 'stream') AS source,
            CASE
                -- The observing server answers where the toot's uri leads.
                WHEN starts_with(uri, base_url || '/') THEN 3
                -- It names a home where the uri leads, and if it is its own, it says so itself.
                WHEN contains(uri, '://' || server || '/') THEN if(contains(acct, '@'), 1, 2)
                WHEN contains(uri, '.' || server || '/') THEN 1  -- As of social.one.example.
                ELSE 0
            END AS authority,
            coalesce(COLUMNS($texts), ''),
            coalesce(COLUMNS($numbers), 0),
            coalesce(COLUMNS($flags), false),
            coalesce(COLUMNS($lists), []),
            COLUMNS($nullable)
        FROM read_parquet($raw_files, union_by_name := true, hive_partitioning := false)
        WHERE
            created_at >= $hour_start
            AND created_at < $hour_end
            AND (
                event = 'delete'
                OR hash(coalesce(nullif(uri, ''), base_url || '#' || status_id)) % $slices = $slice
            )
    ),

    previous AS (
        SELECT uri
        FROM read_parquet($previous_toots, union_by_name := true, hive_partitioning := false)
        WHERE created_at = ingested_at + $future_tolerance
    ),

    removal AS (
        SELECT uri, base_url, status_id FROM record WHERE event = 'delete'
    ),

    toot AS (
        SELECT
            uri,
            arg_max(
                (file_index, file_row_number),
                (
                    authority,
                    coalesce(edited_at, created_at),
                    ingested_at,
                    kafka_partition,
                    kafka_offset
                )
            ) AS newest,
            list_sort(list_distinct(list(base_url))) AS seen_by,
            max((authority, base_url))[2] AS speaker,
            max((authority, app))[2] AS app,
            max((authority, mastodon_text = '' AND characters > 0))[2] AS withheld,
            max((
                authority,
                mastodon_text = ''
                AND characters > 0
                AND (NOT $past_retention OR (tags > 0 AND len(tag_names) = 0))
            ))[2] AS untagged,
            max((authority, source = 'stream')) AS highest
        FROM record
        ANTI JOIN previous USING (uri)
        WHERE event <> 'delete'
        GROUP BY uri
    ),

    removed AS (
        SELECT uri, base_url FROM removal
        UNION
        SELECT record.uri, record.base_url
        FROM record
        SEMI JOIN (
            SELECT * FROM removal WHERE status_id <> ''
        ) AS named USING (base_url, status_id)
        WHERE event <> 'delete'
    ),

    deleted AS (
        SELECT DISTINCT uri
        FROM removed
        JOIN toot USING (uri)
        WHERE
            highest[1] < 2  -- No home server listed it.
            OR NOT highest[2]  -- The home server was not streamed.
            OR base_url = speaker
            OR starts_with(uri, base_url || '/')
    )

    SELECT * EXCLUDE (
        kafka_partition, kafka_offset, kafka_timestamp, _partition, _offset, _ts
    )
    FROM (FROM read_parquet($empty_record) LIMIT 0)
    UNION ALL BY NAME
    SELECT
        record.* EXCLUDE (
            file_index, file_row_number, kafka_partition, kafka_offset, authority
        ) REPLACE (
            toot.app AS app,
            if(deleted.uri IS NULL AND NOT untagged, tag_names, []) AS tag_names,
            if(deleted.uri IS NULL AND NOT withheld, mastodon_text, '') AS mastodon_text
        ),
        toot.seen_by,
        deleted.uri IS NOT NULL AS deleted
    FROM record
    JOIN toot
        ON toot.uri = record.uri AND toot.newest = (record.file_index, record.file_row_number)
    LEFT JOIN deleted ON deleted.uri = record.uri
    ORDER BY server, created_at, uri
) TO $path (FORMAT parquet, COMPRESSION zstd, KV_METADATA {built_from: $built_from});
