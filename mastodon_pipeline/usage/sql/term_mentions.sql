-- How often one UTC day's toots mention each term, in any case, as a whole word: no letter, digit,
-- mark or underscore touches it. #Kafka and kafka.apache.org mention kafka, kafkaesque does not.
--
-- The expression engine knows word ends for ASCII alone and cannot look around, so a match takes
-- the characters beside it. Every character that is none of a word stands twice, in text and term,
-- so that two mentions side by side need not share one.
COPY (
    WITH term AS (
        SELECT unnest(list_distinct(list_transform($terms, lambda t: lower(t)))) AS term
    ),

    toot AS (
        SELECT lower(mastodon_text) AS text
        FROM read_parquet($toots_files, union_by_name := true, hive_partitioning := false)
        WHERE mastodon_text <> ''
    ),

    mention AS (
        SELECT
            term,
            len(regexp_extract_all(
                regexp_replace(text, '[^\pL\pN\pM_]', '\0\0', 'g'),
                concat(
                    '(^|[^\pL\pN\pM_])',
                    regexp_escape(regexp_replace(term, '[^\pL\pN\pM_]', '\0\0', 'g')),
                    '($|[^\pL\pN\pM_])'
                )
            )) AS mentions
        FROM toot
        JOIN term ON contains(text, term)
    )

    SELECT
        $day::DATE AS day,
        term,
        count(*) FILTER (mentions > 0) AS toots,
        coalesce(sum(mentions), 0)::BIGINT AS mentions
    FROM term
    LEFT JOIN mention USING (term)
    GROUP BY term
    ORDER BY term
) TO $path (FORMAT parquet, COMPRESSION zstd, KV_METADATA {built_from: $built_from});
