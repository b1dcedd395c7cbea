-- The uris whose rows in an hour's table are replaced. A toot without one is named as toots.sql does,
-- one of somebody forgotten by its hash; a name too many does no harm.
COPY (
    SELECT
        $file AS file,
        unnest([uri, nameless_uri($salt, uri)]) AS uri
    FROM (
        SELECT uri FROM related_record WHERE uri <> ''
        UNION
        SELECT base_url || '#' || status_id FROM related_record
    )
) TO $path (FORMAT parquet, COMPRESSION uncompressed);
