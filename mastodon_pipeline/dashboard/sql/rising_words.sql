-- The words that are in more toots than expected since a moment: than on average in the windows of
-- the same hours before. In the order of how unlikely that is, were nothing different.
--
-- A word is letters of a script that puts spaces between words; addresses, names (@) and hashtags
-- are none. Only words that several accounts have used are shown, so that none leads to a person:
-- the candidates are counted once more for that, since counting all words' accounts takes memory.
--
-- Of busy hours one toot in so many is read, by the hash of its address: always the same ones.
WITH used AS NOT MATERIALIZED (
    SELECT
        created_at,
        username || '@' || server AS account,
        unnest(
            list_distinct(
                regexp_extract_all(
                    nfc_normalize(
                        lower(regexp_replace(mastodon_text, '\pL+://\S+|[@#]\S+', ' ', 'g'))
                    ),
                    '[\p{Latin}\p{Greek}\p{Cyrillic}\p{Arabic}\p{Hebrew}\p{Devanagari}\p{Hangul}\pM]+'
                )
            )
        ) AS word
    FROM read_parquet($files, union_by_name := true, hive_partitioning := false)
    WHERE
        mastodon_text <> ''
        AND ($one_in = 1 OR hash(uri) % $one_in = 0)
),

counted AS (
    SELECT
        word,
        count(*) FILTER (created_at >= $since) AS toots,
        count(*) FILTER (created_at < $since) / $windows AS expected
    FROM used
    WHERE length(word) BETWEEN 3 AND 30
    GROUP BY word
),

candidate AS (
    SELECT
        word,
        toots,
        expected,
        (toots - expected) / sqrt(expected + 1) AS surprise
    FROM counted
    WHERE toots >= $accounts AND toots > expected
    ORDER BY surprise DESC, word
    LIMIT 20 * $most
)

SELECT
    word,
    any_value(toots) * $one_in AS toots,
    round(any_value(expected) * $one_in, 1) AS expected
FROM used
JOIN candidate USING (word)
WHERE created_at >= $since
GROUP BY word
HAVING count(DISTINCT account) >= $accounts
ORDER BY any_value(surprise) DESC, word
LIMIT $most;
