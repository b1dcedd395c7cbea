-- Rows of the article's listener (https://github.com/saubury/mastodon-stream) as records.
--
-- * Its created_at is the second in which it read the toot, so ingested_at is the same.
-- * It has no uri. Mastodon's follows from the page's address, so that a toot that both listeners
--   saw has one uri; other software's is taken to be the page's address.
-- * The author's server is that of the page, since it has no acct either.
-- * It wrote "unknown" if a server gave no language.
WITH toot AS (
    SELECT
        created_at::BIGINT * 1000 AS created_at,
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
    created_at,
    created_at AS ingested_at,
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
