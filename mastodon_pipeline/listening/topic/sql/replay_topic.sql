-- Landed records (or rows of `toots`) as they were in the topic, times in UTC milliseconds. What
-- the record does not have is left out: Kafka's coordinates, columns of later tables.
SELECT
    epoch_ms(COLUMNS(name -> name IN ('created_at', 'edited_at', 'ingested_at'))),
    COLUMNS(name -> name IN (
        'event', 'uri', 'status_id', 'base_url', 'server', 'username', 'acct', 'bot', 'app', 'url',
        'language', 'language_primary', 'favourites', 'tags', 'tag_names', 'characters', 'words',
        'mentions', 'media', 'mastodon_text', 'visibility', 'sensitive', 'reply', 'indexable'
    ))
FROM read_parquet($paths, union_by_name := true, hive_partitioning := false);
