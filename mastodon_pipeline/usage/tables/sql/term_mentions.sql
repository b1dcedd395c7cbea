-- How often one UTC day's toots mention each term, in any case, as a whole word: no letter, digit,
-- mark or underscore touches it. #Kafka and kafka.apache.org mention kafka, kafkaesque does not.
--
-- Every character that is not part of a word is put between two marks, in text and term alike, and
-- the ends are marked too. So each word has a mark on either side, and a mention is a plain
-- substring: a regular expression per term would have to be compiled again for every row.
COPY (
    WITH sign AS (
        SELECT chr(1) AS mark, concat(chr(1), '\0', chr(1)) AS between_marks
    ),

    term AS (
        SELECT
            term,
            concat(mark, regexp_replace(term, '[^\pL\pN\pM_]', between_marks, 'g'), mark) AS needle
        FROM
            sign,
            unnest(list_distinct(list_transform($terms::VARCHAR[], lambda t: lower(t)))) AS _ (term)
    ),

    toot AS (
        SELECT lower(mastodon_text) AS text
        FROM read_parquet($toots_files, union_by_name := true, hive_partitioning := false)
        WHERE mastodon_text <> ''
    ),

    mention AS (
        SELECT
            term,
            len(string_split(
                concat(mark, regexp_replace(text, '[^\pL\pN\pM_]', between_marks, 'g'), mark),
                needle
            )) - 1 AS mentions
        FROM toot
        JOIN term ON contains(text, term)
        CROSS JOIN sign
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
