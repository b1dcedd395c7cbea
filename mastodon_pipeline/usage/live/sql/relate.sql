-- Add the hour's known records that share a uri, or a server's status id, with a related one.
INSERT INTO related_record BY NAME
SELECT
    path,
    position,
    uri,
    base_url,
    status_id
FROM known_record AS known
WHERE
    hour = $hour_start
    AND (
        (uri <> '' AND uri IN (SELECT related.uri FROM related_record AS related))
        OR (
            status_id <> ''
            AND (base_url, status_id) IN (
                SELECT (related.base_url, related.status_id) FROM related_record AS related
            )
        )
    )
    AND (path, position) NOT IN (
        SELECT (related.path, related.position)
        FROM related_record AS related
        WHERE related.path IS NOT NULL
    );
