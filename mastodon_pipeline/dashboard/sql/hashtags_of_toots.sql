-- The hashtags of the selected toots, folded as in `hashtag_usage`, the most used first.
WITH used AS (
    SELECT
        nfc_normalize(lower(spelling)) AS tag,
        spelling,
        uri
    FROM (
        SELECT
            row_number() OVER () AS uri,
            unnest(list_distinct(tag_names)) AS spelling
        FROM selected_toots
        WHERE len(tag_names) > 0
    )
    WHERE spelling <> ''
)

SELECT
    mode(spelling ORDER BY spelling) AS hashtag,
    count(DISTINCT uri) AS toots
FROM used
GROUP BY tag
ORDER BY toots DESC, tag
LIMIT $most;
