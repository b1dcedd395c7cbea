-- Hashtags whose counts differ from a recount of the hour's toots: toot by toot, by distinct uris and
-- accounts, where the table counts rows.
WITH used AS (
    SELECT
        uri,
        {name: username, home: server} AS account,
        server,
        language_primary,
        nfc_normalize(lower(unnest(tag_names))) AS tag
    FROM read_parquet($toots_files, union_by_name := true, hive_partitioning := false)
),

recount AS (
    SELECT
        tag,
        count(DISTINCT uri) AS toots,
        count(DISTINCT account) AS users,
        count(DISTINCT server) AS servers,
        count(DISTINCT nullif(language_primary, '')) AS languages
    FROM used
    WHERE tag <> ''
    GROUP BY tag
),

counted AS (
    SELECT * FROM read_parquet($table_file, hive_partitioning := false)
)

SELECT
    counted.toots AS toots,
    recount.toots AS toots_recounted,
    counted.users AS users,
    recount.users AS users_recounted
FROM counted
FULL JOIN recount ON recount.tag = counted.tag
WHERE
    (
        counted.hour,
        counted.toots,
        counted.users,
        counted.servers,
        counted.languages,
        nfc_normalize(lower(counted.spelling))
    ) IS DISTINCT FROM (
        $hour_start::TIMESTAMPTZ,
        recount.toots,
        recount.users,
        recount.servers,
        recount.languages,
        recount.tag
    )
ORDER BY ALL
LIMIT $limit;
