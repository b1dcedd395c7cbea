"""`toots`: of the servers that report a toot, its home server's word counts first."""

import itertools
from datetime import timedelta

import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline_tests.support.local_lake import (
    EDITED,
    HOUR,
    Record,
    built_toots,
    delete,
    in_order,
    land,
    record,
)

STRANGER: Record = {"base_url": "https://evil.example", "status_id": "666"}
"""Another server than the toot's home."""
TAKEOVER = record(
    **STRANGER,
    event="status.update",
    edited_at=HOUR + timedelta(minutes=50),
    server="evil.example",
    username="mallory",
    acct="mallory",
    app="Evil",
    mastodon_text="taken over",
)


@pytest.mark.parametrize(
    "claim",
    [
        {},
        {"edited_at": HOUR.replace(year=9999)},
        {"server": "one.example", "username": "ada", "acct": "ada@one.example"},
        {"server": "one.example", "username": "ada", "acct": "ada", "app": "Zzz"},
        {"mastodon_text": "", "characters": 5},
    ],
)
@pytest.mark.parametrize("own_last", [True, False])
def test_other_server_cannot_take_a_toot_over(lake: Lake, claim: Record, own_last: bool) -> None:
    """Its home server is listened to, and its word counts first, whatever others date later.

    Shows G12.
    """
    events = [record(app="Tusky"), {**TAKEOVER, **claim}]
    land(lake, *in_order(*(reversed(events) if own_last else events)))
    (toot,) = built_toots(lake)
    expected = ("one.example", "ada", "hello", "Tusky", None)
    names = ("server", "username", "mastodon_text", "app", "edited_at")
    assert tuple(toot[name] for name in names) == expected
    assert toot["seen_by"] == ["https://evil.example", "https://one.example"]


def test_edit_of_the_home_server_wins_over_a_later_one_of_another(lake: Lake) -> None:
    """Shows G12."""
    land(lake, *in_order(TAKEOVER, record(), EDITED))
    assert [toot["mastodon_text"] for toot in built_toots(lake)] == ["hello, world"]


def test_home_server_may_have_its_accounts_under_another_domain(lake: Lake) -> None:
    """As with Mastodon's WEB_DOMAIN: the uri has the host that answers. Shows G12."""
    split = {"uri": "https://social.one.example/users/ada/1", "server": "one.example"}
    home = record(**split, base_url="https://social.one.example")
    copy = {**split, **STRANGER, "acct": "ada@one.example", "mastodon_text": "forged"}
    land(lake, *in_order(home, record(**copy, edited_at=HOUR + timedelta(minutes=1))))
    assert [toot["mastodon_text"] for toot in built_toots(lake)] == ["hello"]


def test_home_server_reached_by_another_address_is_known_by_its_domain(lake: Lake) -> None:
    """Its own account, whose domain is the uri's host."""
    home = record(base_url="http://127.0.0.1:9101")
    copy = record(**STRANGER, acct="ada@one.example", edited_at=HOUR, mastodon_text="forged")
    land(lake, *in_order(home, copy))
    assert [toot["mastodon_text"] for toot in built_toots(lake)] == ["hello"]


def test_toot_of_a_home_not_listened_to_is_as_its_newest_copy_says(lake: Lake) -> None:
    """But a server that claims it for its own account is not believed beside one that does not.

    Shows G12.
    """
    copy = {"base_url": "https://two.example", "status_id": "77", "acct": "ada@one.example"}
    newer = {**copy, "edited_at": HOUR + timedelta(minutes=1), "mastodon_text": "edited"}
    land(lake, *in_order(record(**copy), TAKEOVER, record(**newer)))
    (toot,) = built_toots(lake)
    assert (toot["server"], toot["mastodon_text"]) == ("one.example", "edited")


@pytest.mark.parametrize("uri", ["https://one.example/1", ""])
def test_delete_of_another_server_takes_no_text_away(lake: Lake, uri: str) -> None:
    """A moderator there removes their copy; the home server, which streams, still has it.

    Shows G12.
    """
    land(lake, *in_order(record(), record(**STRANGER), delete(**STRANGER, uri=uri)))
    assert [(toot["deleted"], toot["mastodon_text"]) for toot in built_toots(lake)] == [
        (False, "hello")
    ]


@pytest.mark.parametrize(
    "home", [[], [record(source="poll")], [record(source="gap")]], ids=["absent", "poll", "gap"]
)
def test_delete_of_another_server_counts_where_the_home_would_not_report_it(
    lake: Lake, home: list[Record]
) -> None:
    """A home server that is polled, or not listened to, reports no deletes. Shows G15."""
    copy = record(**STRANGER, acct="ada@one.example")
    land(lake, *in_order(*home, copy, delete(**STRANGER, uri="")))
    assert [(toot["deleted"], toot["mastodon_text"]) for toot in built_toots(lake)] == [(True, "")]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_text_withheld_by_the_home_server_is_not_restored_by_a_copy(
    lake: Lake, order: tuple[int, ...]
) -> None:
    """Servers report noindex of their own accounts only, so other copies still have the text.

    Shows G15.
    """
    copies = [
        record(mastodon_text=""),
        record(base_url="https://two.example", status_id="77"),
        {**EDITED, "base_url": "https://two.example", "status_id": "77"},
    ]
    land(lake, *in_order(*(copies[place] for place in order)))
    (toot,) = built_toots(lake)
    assert (toot["mastodon_text"], toot["characters"], toot["deleted"]) == ("", 5, False)
