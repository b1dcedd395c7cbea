"""What the columns of each table mean, as the UI shows it."""

import dagster as dg


def _schema(**columns: tuple[str, str]) -> dg.TableSchema:
    return dg.TableSchema(
        [dg.TableColumn(name, kind, meaning) for name, (kind, meaning) in columns.items()]
    )


TOOTS = _schema(
    event=("VARCHAR", "What the newest record was: update or status.update (an edit)"),
    uri=("VARCHAR", "The toot's identity across all servers"),
    status_id=("VARCHAR", "The id on the server that told of the newest version; opaque"),
    base_url=("VARCHAR", "The server that told of the newest version"),
    server=("VARCHAR", "The author's home server"),
    created_at=("TIMESTAMPTZ", "UTC, as claimed by the author's server"),
    edited_at=("TIMESTAMPTZ", "UTC, of the newest edit; null where never edited"),
    ingested_at=("TIMESTAMPTZ", "UTC, when the listener read the newest version"),
    source=("VARCHAR", "How it came: stream, poll, gap or replay"),
    username=("VARCHAR", "The author's name on the home server"),
    acct=("VARCHAR", "The author as the observing server names them"),
    bot=("BOOLEAN", "The account says that it is automated"),
    app=("VARCHAR", "The posting application, as the home server tells it; '' where unknown"),
    url=("VARCHAR", "The toot's page for people"),
    language=("VARCHAR", "As the author's server sent it: free text, '' where unknown"),
    language_primary=("VARCHAR", "The primary subtag, lower case: zh for zh-CN"),
    favourites=("INTEGER", "When the newest version was read"),
    tags=("INTEGER", "How many hashtags"),
    tag_names=("VARCHAR[]", "The hashtags; empty where deleted"),
    characters=("INTEGER", "Length of the plain text in Unicode code points, also where withheld"),
    words=("INTEGER", "White-space separated words, also where withheld"),
    mentions=("INTEGER", "How many accounts are mentioned"),
    media=("INTEGER", "How many attachments"),
    mastodon_text=("VARCHAR", "Plain text; '' where deleted or the author said noindex"),
    visibility=("VARCHAR", "public, as the feeds carry nothing else"),
    sensitive=("BOOLEAN", "Behind a warning"),
    reply=("BOOLEAN", "Answers a toot: the author's own, since the feeds leave out the others"),
    indexable=("BOOLEAN", "What the author allows full-text search; null where not told"),
    seen_by=("VARCHAR[]", "The servers that listed the toot, by base URL"),
    deleted=("BOOLEAN", "A server told of its deletion"),
)

TOOTS_PER_SERVER_PER_HOUR = _schema(
    hour=("TIMESTAMPTZ", "Start of the hour, UTC"),
    server=("VARCHAR", "The authors' home server"),
    toots=(
        "BIGINT",
        "Public top-level toots posted in the hour and seen, also those deleted since",
    ),
    users=("BIGINT", "Distinct accounts that posted them"),
    bots=("BIGINT", "Those of the users that say they are automated"),
    replies=("BIGINT", "Those of the toots that answer another of the author's own"),
    languages=("BIGINT", "Distinct primary languages; unknown ones are not counted"),
    seen_by=("BIGINT", "Distinct servers that listed the toots"),
)

_DAY = ("DATE", "The UTC day")
_TOOTS = ("BIGINT", "Public top-level toots posted on the day and seen, also those deleted since")
_USERS = ("BIGINT", "Distinct accounts (name and home server) that posted them")
_LANGUAGE = {
    "language_primary": ("VARCHAR", "The primary subtag, lower case; '' where unknown"),
    "language_name": ("VARCHAR", "In English; unknown for '', the code itself where unnamed"),
}

DAILY_USAGE = _schema(
    day=_DAY,
    toots=_TOOTS,
    users=_USERS,
    servers=("BIGINT", "Distinct home servers"),
    most_frequent_non_bot=("VARCHAR", "The account with the most toots that is no bot"),
    most_frequent_bot=("VARCHAR", "The bot with the most toots; null where none posted"),
    most_frequent_server=("VARCHAR", "The home server with the most toots"),
)

APP_USAGE = _schema(
    day=_DAY,
    app=("VARCHAR", "The posting application, as the home server tells it; '' where unknown"),
    toots=_TOOTS,
    users=_USERS,
)

HOUR_OF_DAY_USAGE = _schema(
    day=_DAY,
    hour_of_day=("INTEGER", "0 to 23, UTC; each has its row"),
    toots=_TOOTS,
    users=_USERS,
)

LANGUAGE_USAGE = _schema(day=_DAY, **_LANGUAGE, toots=_TOOTS, users=_USERS)

LANGUAGE_DENSITY = _schema(
    day=_DAY,
    **_LANGUAGE,
    min=("INTEGER", "Characters of the shortest toot"),
    q1=("DOUBLE", "Characters that a quarter of the toots do not exceed"),
    median=("DOUBLE", "Characters that half of the toots do not exceed"),
    q3=("DOUBLE", "Characters that three quarters of the toots do not exceed"),
    max=("INTEGER", "Characters of the longest toot"),
    toots=_TOOTS,
)

TERM_MENTIONS = _schema(
    day=_DAY,
    term=("VARCHAR", "The word or phrase of TERMS, lower case; each has its row"),
    toots=("BIGINT", "Toots of the day whose text, as far as it is kept, mentions it"),
    mentions=("BIGINT", "How often they do so, in all"),
)

SERVER_COVERAGE = _schema(
    day=("DATE", "The UTC day on which the servers were asked"),
    server=("VARCHAR", "The domain in the server's accounts' addresses"),
    base_url=("VARCHAR", "Where it was asked"),
    first_day=("DATE", "First UTC day of the figures; null where the server gave none"),
    last_day=("DATE", "Last UTC day of the figures: Mastodon's weeks sum six days"),
    reported=(
        "BIGINT",
        "Public and unlisted statuses of its own accounts, by its own account: replies, boosts"
        " and those deleted since included",
    ),
    toots=("BIGINT", "Public top-level toots of its accounts that were counted"),
    share=("DOUBLE", "toots / reported; null where nothing was reported"),
    hours_heard=("INTEGER", "Hours, of 144, in which at least one of its toots was counted"),
    reason=("VARCHAR", "Why the server gave no figures; '' where it did"),
)
