-- Rows of the article's listener (https://github.com/saubury/mastodon-stream) as records.
--
-- * Its created_at is the second in which it read the toot: that becomes ingested_at. When the toot
--   was posted is told by its id on its home server, which the page's address has, else by the
--   observing server's: Mastodon's ids are snowflakes (`ids.py`). So a toot that two listeners read
--   on both sides of a full hour has one time. An id that is not from the day before the reading is
--   of another kind; then the time of reading stands for that of posting.
-- * It has no uri. Mastodon's follows from the page's address, so that a toot that both listeners
--   saw has one uri; other software's is taken to be the page's address.
-- * The author's server is that of the page, since it has no acct either.
-- * It wrote "unknown" if a server gave no language.
WITH toot AS (
    SELECT
        created_at::BIGINT * 1000 AS read_at,
        [
            TRY_CAST(id AS HUGEINT) // 65536  -- Milliseconds since 1970 before 16 bits.
            FOR id IN [
                regexp_extract(url, '^https?://[^/]+/@[^/@]+/([0-9]{16,20})$', 1),
                m_id::VARCHAR
            ]
        ] AS id_times,
        coalesce(m_id::VARCHAR, '') AS status_id,
        rtrim(coalesce(base_url, ''), '/') AS base_url,
        coalesce(url, '') AS url,
        lower(regexp_extract(coalesce(nullif(url, ''), base_url, ''), '^https?://([^/]+)', 1))
            AS server,
        lower(regexp_extract(coalesce(base_url, ''), '^https?://([^/]+)', 1)) AS observer,
        coalesce(username, '') AS username,
        if(language = 'unknown', '', coalesce(language, '')) AS language,
        coalesce(app, '') AS app,
        coalesce(mastodon_text, '') AS mastodon_text,
        coalesce(TRY_CAST(bot AS BOOLEAN), false) AS bot,
        greatest(coalesce(TRY_CAST(favourites AS INTEGER), 0), 0) AS favourites,
        greatest(coalesce(TRY_CAST(tags AS INTEGER), 0), 0) AS tags,
        greatest(coalesce(TRY_CAST(characters AS INTEGER), 0), 0) AS characters,
        greatest(coalesce(TRY_CAST(words AS INTEGER), 0), 0) AS words
    FROM read_parquet($paths, union_by_name := true, hive_partitioning := false)
)

SELECT
    'update' AS event,
    regexp_replace(
        url, '^(https?://[^/]+)/@([^/@]+)/([0-9]+)$', '\1/users/\2/statuses/\3'
    ) AS uri,
    status_id,
    base_url,
    server,
    coalesce(
        list_filter(id_times, lambda t: t BETWEEN read_at - 86400000 AND read_at + 300000)[1],
        read_at
    )::BIGINT AS created_at,
    read_at AS ingested_at,
    username,
    if(server = observer, username, username || '@' || server) AS acct,
    bot,
    app,
    url,
    language,
    favourites,
    tags,
    characters,
    words,
    mastodon_text
FROM toot;
