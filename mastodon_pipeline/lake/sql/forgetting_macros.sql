-- What stands in a record for people and servers that were forgotten, and which records concern
-- them. `listening.records.people` computes the same for the records of a listener.

CREATE OR REPLACE TEMP MACRO pseudonym(salt, name) AS (
    '~' || left(sha256(salt || ':' || name), 20)
);

CREATE OR REPLACE TEMP MACRO is_nameless_uri(uri) AS (
    coalesce(uri, '') = ''
    OR regexp_matches(uri, '^([a-z]+://[^/#]+)?(/~[0-9a-f]{32}|#~[0-9a-f]{20})$')
);

-- Host and scheme stay: by them a toot's home server is known. What toots.sql makes of a server and
-- its id, for a record without a uri, becomes what it would make of the nameless id.
CREATE OR REPLACE TEMP MACRO nameless_uri(salt, uri) AS (
    CASE
        WHEN is_nameless_uri(uri) THEN uri
        WHEN regexp_matches(uri, '^[a-z]+://[^/#]+#')
            THEN
                regexp_extract(uri, '^[a-z]+://[^/#]+')
                || '#'
                || pseudonym(
                    salt,
                    regexp_extract(uri, '^[a-z]+://[^/#]+')
                    || ' '
                    || regexp_extract(uri, '^[a-z]+://[^/#]+#(.*)$', 1)
                )
        ELSE
            regexp_extract(uri, '^[a-z]+://[^/#]+')
            || '/~'
            || left(sha256(salt || ':' || uri), 32)
    END
);

CREATE OR REPLACE TEMP MACRO nameless_id(salt, base_url, status_id) AS (
    if(
        coalesce(status_id, '') = '' OR starts_with(status_id, '~'),
        status_id,
        pseudonym(salt, base_url || ' ' || status_id)
    )
);

CREATE OR REPLACE TEMP MACRO account_name(username, acct) AS (
    coalesce(nullif(username, ''), split_part(acct, '@', 1), '')
);

CREATE OR REPLACE TEMP MACRO nameless_user(salt, username, acct, server) AS (
    if(
        starts_with(account_name(username, acct), '~') OR account_name(username, acct) = '',
        account_name(username, acct),
        pseudonym(salt, lower(account_name(username, acct)) || '@' || coalesce(server, ''))
    )
);

CREATE OR REPLACE TEMP MACRO nameless_acct(salt, username, acct, server) AS (
    nameless_user(salt, username, acct, server)
    || if(contains(acct, '@'), '@' || split_part(acct, '@', 2), '')
);

-- Posted before PERSON_RETENTION_DAYS, see `maintenance.person_retention`.
CREATE OR REPLACE TEMP MACRO is_past_retention(created_at, persons_until) AS (
    coalesce(created_at < persons_until::TIMESTAMPTZ, false)
);

-- Whether nothing in a record leads to a person, hashtags apart.
CREATE OR REPLACE TEMP MACRO is_nameless(
    uri, status_id, username, acct, url, mastodon_text
) AS (
    is_nameless_uri(uri)
    AND (coalesce(status_id, '') = '' OR starts_with(status_id, '~'))
    AND (account_name(username, acct) = '' OR starts_with(account_name(username, acct), '~'))
    AND (coalesce(acct, '') = '' OR starts_with(acct, '~'))
    AND coalesce(url, '') = ''
    AND coalesce(mastodon_text, '') = ''
);

-- A delete names its toot by the uri alone.
CREATE OR REPLACE TEMP MACRO concerns_forgotten(
    salt, accounts, servers, username, acct, server, uri
) AS (
    list_contains(accounts, nameless_user(salt, username, acct, server))
    OR list_contains(servers, pseudonym(salt, coalesce(server, '')))
    OR list_contains(
        servers, pseudonym(salt, lower(regexp_extract(coalesce(uri, ''), '^[a-z]+://([^/]+)', 1)))
    )
    OR list_contains(
        accounts,
        pseudonym(
            salt,
            lower(regexp_extract(coalesce(uri, ''), '^[a-z]+://[^/]+/(?:users/|@|u/)([^/]+)', 1))
            || '@'
            || lower(regexp_extract(coalesce(uri, ''), '^[a-z]+://([^/]+)', 1))
        )
    )
);
