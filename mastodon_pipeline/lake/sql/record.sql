-- A Parquet file without rows that has every column of the record (infra/avro). Read beside the
-- landed files, it supplies the columns that files from before a schema change lack, and the
-- schema of an hour in which nothing landed.
COPY (
    SELECT
        'update' AS event,
        '' AS uri,
        '' AS status_id,
        '' AS base_url,
        '' AS server,
        to_timestamp(0) AS created_at,
        to_timestamp(0) AS edited_at,
        to_timestamp(0) AS ingested_at,
        'stream' AS source,
        '' AS username,
        '' AS acct,
        false AS bot,
        '' AS app,
        '' AS url,
        '' AS language,
        '' AS language_primary,
        0::INTEGER AS favourites,
        0::INTEGER AS tags,
        []::VARCHAR[] AS tag_names,
        0::INTEGER AS characters,
        0::INTEGER AS words,
        0::INTEGER AS mentions,
        0::INTEGER AS media,
        '' AS mastodon_text,
        '' AS visibility,
        false AS sensitive,
        false AS reply,
        NULL::BOOLEAN AS indexable,
        0::INTEGER AS _partition,
        0::BIGINT AS _offset,
        to_timestamp(0) AS _ts
    LIMIT 0
) TO $path (FORMAT parquet);
