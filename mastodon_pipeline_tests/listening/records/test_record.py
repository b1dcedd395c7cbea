"""A status as the topic's record: the design's table, row by row."""

import json
from typing import Any

import pytest
from msgspec.structs import asdict

from mastodon_pipeline.listening.protocol.statuses import decode_status
from mastodon_pipeline.listening.records.record import (
    MAX_CHARACTERS,
    ObservingServer,
    TootRecord,
    cut_short_fields,
    delete_record,
    toot_record,
)
from mastodon_pipeline.listening.records.seen import SeenToots
from mastodon_pipeline.listening.topic.encoding import decode, encode
from mastodon_pipeline.schemas import record_fields

OBSERVER = ObservingServer("https://social.a.example", "a.example")
NOW = 1_780_000_000_000


def record(
    account: dict[str, Any] | None = None, observer: ObservingServer = OBSERVER, **fields: Any
) -> TootRecord:
    payload = {
        "id": "7",
        "uri": "https://a.example/7",
        "created_at": "2026-05-01T10:00:00.250Z",
        "content": "<p>one two</p><p>three</p>",
        "account": {"acct": "ann", "username": "ann", **(account or {})},
        **fields,
    }
    status = decode_status(json.dumps(payload).encode())
    return toot_record(status, "update", observer, "stream", NOW)


def test_record_has_the_fields_and_defaults_of_the_schema() -> None:
    """In the schema's order, by which they are encoded."""
    defaults = {field.name: field.default for field in record_fields()}
    assert list(asdict(TootRecord()).items()) == list(defaults.items())


def test_counts_are_of_the_plain_text() -> None:
    """Characters are code points, words stand between white space."""
    toot = record()
    assert (toot.characters, toot.words) == (13, 3)
    assert toot.mastodon_text == "one two\nthree"


@pytest.mark.parametrize(
    ("acct", "server"),
    [
        ("ann", "a.example"),
        ("bob@B.Example", "b.example"),
        ("odd@x@c.example", "c.example"),
        ("eva@bücher.example", "xn--bcher-kva.example"),
        ("eva@Xn--Bcher-kva.Example.:443", "xn--bcher-kva.example"),
    ],
)
def test_server_of_a_record_is_the_authors_home(acct: str, server: str) -> None:
    """A local account lives at the observer's own domain, which need not be the URL's host."""
    assert record(account={"acct": acct}).server == server


def test_post_time_in_the_future_is_clamped() -> None:
    """To five minutes after our clock; the past stays as claimed, any year."""
    assert record(created_at="2222-01-01T00:00:00Z").created_at == NOW + 300_000
    assert record(created_at="0001-01-01T00:00:00Z").created_at < 0
    assert record().created_at == 1_777_629_600_250


def test_time_of_an_edit_is_clamped_as_the_post_time_is() -> None:
    """A later, true edit must win; and no edit was before its toot."""
    future = record(created_at="2222-01-01T00:00:00Z", edited_at="9999-12-31T23:59:59Z")
    assert future.edited_at == future.created_at == NOW + 300_000
    assert record(edited_at="9999-12-31T23:59:59Z").edited_at == NOW + 300_000
    assert record(edited_at="0001-01-01T00:00:00Z").edited_at == record().created_at
    later = record().created_at + 1000
    assert record(edited_at="2026-05-01T10:00:01.250Z").edited_at == later


@pytest.mark.parametrize(
    ("language", "primary"),
    [("zh-CN", "zh"), ("EN", "en"), (None, ""), ("pt_BR", "pt"), ("klingon!", "")],
)
def test_language_is_kept_raw_beside_its_code(language: str | None, primary: str) -> None:
    """Free text or null, as servers send it."""
    toot = record(language=language)
    assert (toot.language, toot.language_primary) == (language or "", primary)


def test_strangers_short_fields_are_cut() -> None:
    """A server that sends half a megabyte as an app's name does not fill tables with it.

    Hashtags are all counted; a link that is too long is none. Shows G6.
    """
    huge = "x" * 450_000
    toot = record(
        account={"acct": f"a@{'y' * 3000}", "username": huge},
        application={"name": huge},
        language=huge,
        url=f"https://a.example/{huge}",
        visibility=huge,
        tags=[{"name": "x" * 4_000}] * 1000,
    )
    for name, limit in MAX_CHARACTERS.items():
        assert len(getattr(toot, name)) <= limit
    assert (toot.app, toot.url) == ("x" * 200, "")
    assert toot.server == "y" * 256
    assert (toot.tags, len(toot.tag_names), len(toot.tag_names[0])) == (1000, 500, 256)
    fields = asdict(toot) | {"app": huge, "url": huge, "tag_names": [huge] * 1000}
    assert TootRecord(**cut_short_fields(fields)) == toot


def test_short_fields_of_real_toots_stay() -> None:
    toot = record(
        application={"name": "Tusky for Android"},
        language="zh-Hant-TW",
        url="https://a.example/@ann/7",
        tags=[{"name": "cats"}],
    )
    assert (toot.app, toot.language, toot.url, toot.tag_names) == (
        "Tusky for Android",
        "zh-Hant-TW",
        "https://a.example/@ann/7",
        ["cats"],
    )


def test_noindex_counts_from_the_authors_own_server_only() -> None:
    """GoToSocial sends it by default, of remote authors as well. Shows G15."""
    account = {"acct": "bo@b.example", "noindex": True}
    assert record(account).mastodon_text
    assert not record(account | {"acct": "ann@a.example"}).mastodon_text
    assert not record(account | {"acct": "ann", "noindex": "true"}).mastodon_text
    gotosocial = ObservingServer("https://a.example", "a.example", noindex_by_default=True)
    assert record({"acct": "ann", "noindex": True}, gotosocial).mastodon_text


def test_author_with_noindex_leaves_no_text() -> None:
    """The counts stay; `indexable` alone is recorded, and blanks nothing. Shows G15 and P2."""
    silent = record(account={"noindex": True})
    assert (silent.mastodon_text, silent.words) == ("", 3)
    unindexed = record(account={"indexable": False})
    assert (unindexed.mastodon_text[:3], unindexed.indexable) == ("one", False)
    assert record().indexable is None


@pytest.mark.parametrize("poll", [{"id": "1", "options": []}, {}])
def test_toot_with_a_poll_is_marked(poll: dict[str, Any]) -> None:
    assert record(poll=poll).has_poll
    assert not record(poll=None).has_poll
    assert not record().has_poll


def test_poll_is_marked_if_the_status_needs_the_tolerant_decoder() -> None:
    assert record(poll={"id": "1"}, sensitive="no boolean").has_poll
    assert not record(poll="no poll", sensitive="no boolean").has_poll


def test_numbers_beyond_avros_int_are_clamped() -> None:
    """A server may claim any number of favourites."""
    assert record(favourites_count=2**80).favourites == 2**31 - 1
    assert record(favourites_count=-5).favourites == 0


def test_delete_of_a_seen_toot_has_its_uri_and_post_time() -> None:
    """The delete itself carries nothing but the observing server's id."""
    seen = SeenToots()
    toot = record()
    seen.remember(toot)
    gone = delete_record("7", seen.get(OBSERVER.base_url, "7"), OBSERVER, NOW)
    assert (gone.uri, gone.created_at) == (toot.uri, toot.created_at)
    assert gone.key == toot.key
    assert decode(encode(gone, 1)).mastodon_text == ""


@pytest.mark.parametrize(
    ("status_id", "created_at"),
    [
        (str((NOW - 7_200_000) << 16 | 0x2A), NOW - 7_200_000),
        ("01KSR49200ABCDEFGHJKMNPQRS", 1_780_000_000_000),
        (str((NOW + 3_600_000) << 16), NOW + 300_000),
    ],
    ids=["a snowflake", "a ULID", "a server whose clock is ahead"],
)
def test_delete_of_an_unseen_toot_is_dated_by_its_id(status_id: str, created_at: int) -> None:
    """So it lands in its toot's hour, where observer and id lead to the toot. Shows G15."""
    gone = delete_record(status_id, None, OBSERVER, NOW)
    assert (gone.uri, gone.created_at) == ("", created_at)


def test_delete_of_an_unseen_toot_is_keyed_by_observer_and_id() -> None:
    gone = delete_record("8", None, OBSERVER, NOW)
    assert (gone.uri, gone.status_id, gone.created_at) == ("", "8", NOW)
    assert gone.key == "https://social.a.example#8"
