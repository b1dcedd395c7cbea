-- Landed records of toots $first to $last (exclusive) of $toots in the $days days from $start (UTC);
-- the same for the same parameters.
--
-- Days have a quiet night and a busy evening, servers and accounts are as unequal as in the
-- Fediverse, a third of the toots is reported by a second server and some by a third, some are
-- edited or deleted, and one record in a hundred is delivered twice.
WITH toot AS (
    SELECT
        n,
        -- The clock runs unevenly through each day: a density from 1/1.6 to 1/0.4 of the mean.
        $start::TIMESTAMPTZ + to_microseconds(
            (86400e6 * ($days * n / $toots - 0.6 / (2 * pi()) * sin(2 * pi() * $days * n / $toots)))
            ::BIGINT
        ) AS created_at,
        (hash(n, 'account') % 1000003) / 1000003 AS account_share,
        hash(n, 'kind') % 1000 AS kind,
        hash(n, 'text') AS text_hash,
        hash(n, 'language') % 100 AS language_share,
        hash(n, 'app') % 100 AS app_share
    FROM range($first, $last) AS numbers (n)
),

account AS (
    SELECT
        *,
        floor(300000 ** account_share)::BIGINT AS account
    FROM toot
),

written AS (
    SELECT
        *,
        format('server{}.example', floor(1500 ** ((hash(account, 'home') % 9973) / 9973))::BIGINT)
            AS server,
        account % 23 = 7 AS bot,
        -- A third have hashtags, up to two, as unequal as words are; one in ten is in capitals.
        if(
            n % 3 = 0,
            [
                format(
                    if(hash(n, part) % 10 = 0, 'Tag{}', 'tag{}'),
                    floor(100000 ** ((hash(n, part, 'tag') % 9973) / 9973))::BIGINT
                )
                FOR part IN range(1 + n % 2)
            ],
            []
        ) AS tag_names,
        CASE
            WHEN language_share < 45 THEN 'en'
            WHEN language_share < 58 THEN 'ja'
            WHEN language_share < 70 THEN 'de'
            WHEN language_share < 77 THEN 'fr'
            WHEN language_share < 83 THEN 'es'
            WHEN language_share < 87 THEN 'pt-BR'
            WHEN language_share < 90 THEN 'nl'
            WHEN language_share < 92 THEN 'zh-CN'
            ELSE ''
        END AS language,
        CASE
            WHEN app_share < 40 THEN 'Web'
            WHEN app_share < 55 THEN 'Mastodon for Android'
            WHEN app_share < 68 THEN 'Mastodon for iOS'
            WHEN app_share < 78 THEN 'Tusky'
            WHEN app_share < 86 THEN 'Ivory'
            WHEN app_share < 92 THEN 'Moa'
            ELSE format('script {}', account % 40)
        END AS app,
        array_to_string(
            [
                ['The fog took its time leaving the harbour this morning.',
                'Bread is in the oven and the whole stairwell knows it.',
                'Three buses at once, then nothing for forty minutes.',
                'If the loop ends, it took me a day to see that.',
                'A neighbour''s cat has decided that our balcony is hers.',
                'Reading the manual turned out to be the fastest way.',
                'Small victories: the tests are green and the tea is hot.',
                'Das Brot ist gelungen, die Küche leider weniger.',
                'Quelqu''un connaît-il une bonne recette de pain de seigle ?',
                'El pan está en el horno y ya lo sabe toda la escalera.',
                '今朝は港の霧がなかなか晴れなかった。'][1 + ((text_hash >> (4 * part)) % 11)::BIGINT]
                FOR part IN range(1 + (text_hash % 6)::BIGINT)
            ],
            ' '
        ) || format(' {} {}', md5(n::VARCHAR), md5((-n)::VARCHAR)) AS mastodon_text
    FROM account
),

reported AS (
    SELECT
        *,
        unnest(range(1 + (kind < 330)::BIGINT + (kind < 100)::BIGINT)) AS report
    FROM written
),

record AS (
    SELECT
        *,
        'update' AS event,
        NULL::TIMESTAMPTZ AS edited_at,
        created_at + to_milliseconds(800 + 4000 * report) AS ingested_at
    FROM reported
    UNION ALL
    SELECT
        *,
        'status.update' AS event,
        created_at + INTERVAL 3 MINUTE AS edited_at,
        created_at + INTERVAL 3 MINUTE AS ingested_at
    FROM reported
    WHERE kind BETWEEN 500 AND 539 AND report = 0
    UNION ALL
    SELECT
        *,
        'delete' AS event,
        NULL AS edited_at,
        created_at + INTERVAL 9 MINUTE AS ingested_at
    FROM reported
    WHERE kind BETWEEN 600 AND 629 AND report = 0
),

delivered AS (
    SELECT
        *,
        unnest(range(1 + (kind BETWEEN 700 AND 709)::BIGINT)) AS delivery
    FROM record
)

SELECT
    event,
    format('https://{}/users/user{}/statuses/{}', server, account, n) AS uri,
    (100000000000000000 + n * 8 + report)::VARCHAR AS status_id,
    if(report = 0, 'https://' || server, format('https://observer{}.example', report))
        AS base_url,
    server,
    created_at,
    edited_at,
    ingested_at,
    'stream' AS source,
    format('user{}', account) AS username,
    if(report = 0, format('user{}', account), format('user{}@{}', account, server)) AS acct,
    bot,
    if(report = 0, app, '') AS app,
    format('https://{}/@user{}/{}', server, account, n) AS url,
    language,
    split_part(language, '-', 1) AS language_primary,
    0::INTEGER AS favourites,
    len(tag_names)::INTEGER AS tags,
    tag_names,
    length(mastodon_text)::INTEGER AS characters,
    len(string_split(mastodon_text, ' '))::INTEGER AS words,
    0::INTEGER AS mentions,
    (n % 3 = 0)::INTEGER AS media,
    if(event = 'delete', '', mastodon_text) AS mastodon_text,
    'public' AS visibility,
    false AS sensitive,
    false AS reply,
    NULL::BOOLEAN AS indexable,
    n % 11 = 0 AS has_poll,
    n % 13 = 0 AS has_quote,
    (n % 4)::INTEGER AS links,
    (hash(server) % 4)::INTEGER AS kafka_partition,
    (n * 8 + report + (event <> 'update')::BIGINT * 4)::BIGINT AS kafka_offset,
    ingested_at AS kafka_timestamp
FROM delivered
