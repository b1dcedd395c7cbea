-- One hour's toots by hashtag. A tag is folded: it is the same in any case, and however Unicode
-- composes its letters. A toot that has it in two spellings counts once; both were used once. Of
-- equally frequent spellings the first by code points stands for the tag.
COPY (
    WITH toot AS (
        SELECT
            server,
            username || '@' || server AS account,
            nullif(language_primary, '') AS language,
            list_filter(tag_names, lambda name: name <> '') AS spellings
        FROM read_parquet($toots_files, union_by_name := true, hive_partitioning := false)
        WHERE len(tag_names) > 0
    ),

    tagged AS (
        SELECT
            * EXCLUDE (spellings),
            unnest(
                list_distinct(list_transform(spellings, lambda name: nfc_normalize(lower(name))))
            ) AS tag
        FROM toot
    ),

    spelled AS (
        SELECT
            spelling,
            count(*) AS uses
        FROM (SELECT unnest(list_distinct(spellings)) AS spelling FROM toot)
        GROUP BY spelling
    ),

    most_used AS (
        SELECT
            nfc_normalize(lower(spelling)) AS tag,
            min_by(spelling, (-uses, spelling)) AS spelling
        FROM spelled
        GROUP BY ALL
    )

    SELECT
        $hour_start::TIMESTAMPTZ AS hour,
        tag,
        any_value(most_used.spelling) AS spelling,
        count(*) AS toots,
        count(DISTINCT account) AS users,
        count(DISTINCT server) AS servers,
        count(DISTINCT language) AS languages
    FROM tagged
    JOIN most_used USING (tag)
    GROUP BY tag
    ORDER BY toots DESC, tag
) TO $path (FORMAT parquet, COMPRESSION zstd, KV_METADATA {built_from: $built_from});
