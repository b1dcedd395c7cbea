-- The toots with the columns of the article that this project follows, so that its queries run
-- unchanged: the fourteen of its topic, and the three that it derives from them. Each toot is there
-- once, and created_at is the time of posting; the article has the time of reading. m_id is null if
-- the server's ids are not numbers. language is as the server sent it, language_name that of its
-- code, or the code if it has no name; null if unknown.
CREATE OR REPLACE VIEW mastodon_toot AS
SELECT
    try_cast(status_id AS BIGINT) AS m_id,
    epoch_ms(created_at) // 1000 AS created_at,
    strftime(created_at, '%Y %m %d %H:%M:%S') AS created_at_str,
    app,
    url,
    base_url,
    if(toots.language = '', 'unknown', toots.language) AS language,
    favourites,
    username,
    bot,
    tags,
    characters,
    words,
    mastodon_text,
    created_at AS created_tz,
    regexp_replace(regexp_replace(url, '^http[s]://', ''), '/.*$', '') AS from_instance,
    coalesce(language_name, nullif(toots.language_primary, '')) AS language_name
FROM toots
LEFT JOIN language ON language.lang_iso = toots.language_primary;
