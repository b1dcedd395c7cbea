"""The chain of queries against a recount in plain Python, on generated histories.

A history is what several servers reported, in any order, of toots that were posted, edited, deleted
and federated over two hours: records delivered twice, deletes and authors' noindex long after the
toot, versions out of order and with equal edit times, deletes that name no uri, clocks of 1970 and
9999, toots of clocks that run ahead, reported by two servers across a full hour, servers that claim
a toot of another for their own. It lands in pieces, and after each the hours that are stale are
built, as the sensor requests them.
"""

import tempfile
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.checks.active_users import active_users_equal_recount
from mastodon_pipeline.usage.checks.check import Finding
from mastodon_pipeline.usage.checks.days import (
    day_equals_its_hours,
    mentions_are_possible,
    toots_sum_to_the_day,
)
from mastodon_pipeline.usage.checks.hashtags import hashtags_equal_recount
from mastodon_pipeline.usage.checks.hours import hours_equal_recount, no_duplicate_toots
from mastodon_pipeline.usage.inputs.hour_records import SLICE_RECORDS
from mastodon_pipeline.usage.refreshing.freshness import Cursor, scan
from mastodon_pipeline.usage.tables.active_users import ALL
from mastodon_pipeline.usage.tables.daily import DAILY_TABLES, TERM_MENTIONS, build_daily
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.local_lake import (
    DAY,
    HOUR,
    Record,
    delete,
    land,
    local_lake,
    record,
    rows,
    slices_of,
)

pytestmark = pytest.mark.thorough

SERVERS = ("one.example", "two.example", "three.example")
NEXT = HOUR + timedelta(hours=1)
HOURS = (HOUR, NEXT)
FIRST_DAY = date(2026, 1, 1)
NOW = NEXT + timedelta(minutes=59)
AHEAD = timedelta(minutes=5)
WILD = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, tzinfo=UTC))
SECRET = "secret"
"""Part of every text, so that a text that is left anywhere is found."""


@st.composite
def reports(draw: st.DrawFn, number: int) -> list[Record]:
    """What the servers reported of one toot; some versions may never have arrived."""
    home = SERVERS[number % 3]
    # The millisecond keeps it from looking like a time that the listener wrote.
    posted = draw(st.sampled_from(HOURS)) + timedelta(minutes=number, milliseconds=1)
    clock = draw(st.sampled_from(["right", "right", "ahead", "wild"]))
    claimed = draw(st.sampled_from(WILD)) if clock == "wild" else posted
    author = {
        "uri": f"https://{home}/{number}",
        "server": home,
        "username": f"user{number % 2}",
        "bot": number == 3,
        "reply": number == 4,
        "media": number % 2,
        "links": (None, 0, 3)[number % 3],
        "has_quote": (None, True, False)[number % 3],
        "language_primary": ("", "en", "xx-unheard-of")[number % 3],
    }
    app = ("", "Tusky", "an unheard-of app")[number % 3]
    noindex = draw(st.sampled_from(["never", "from the start", "later"]))
    events = []
    for observer in sorted(draw(st.sets(st.sampled_from(SERVERS), min_size=2))):
        acct = author["username"] if observer == home else f"{author['username']}@{home}"
        seen: Record = {"base_url": f"https://{observer}", "status_id": f"{observer}-{number}"}
        source = draw(st.sampled_from(["stream", "poll"]))
        forged: Record = {}
        if observer != home and draw(st.integers(0, 4)) == 0:
            forged = {"acct": author["username"], "server": observer, "app": "Zzz forged"}
        if clock == "ahead":
            # Years ahead, so each report has the listener's time: on both sides of the full hour.
            read = NEXT - AHEAD + timedelta(minutes=draw(st.sampled_from([-3, 2])), seconds=number)
            seen |= {"ingested_at": read}
            claimed = read + AHEAD
        for version in sorted(draw(st.sets(st.integers(0, 3), min_size=1))):
            edited = claimed + timedelta(seconds=min(version, 2)) if version else None
            withheld = noindex == "from the start" or (noindex == "later" and version > 1)
            text = "" if withheld and observer == home else f"{SECRET} version {version}"
            events.append(
                record(
                    **{**author, "acct": acct, "app": app if observer == home else "", **forged},
                    **seen,
                    source=source,
                    created_at=claimed,
                    event="status.update" if version else "update",
                    # The third edit is as old as the second: the newest reading wins.
                    edited_at=edited if clock == "right" else None,
                    mastodon_text=text,
                    characters=len(f"{SECRET} version {version}"),
                    tag_names=[("cats", "Cats", "dogs")[(version + number) % 3], "all"],
                    tags=2,
                )
            )
        if events and draw(st.integers(0, 3)) == 0:
            uri = author["uri"] if draw(st.booleans()) else ""
            events.append(delete(uri=uri, server=home, created_at=claimed, **seen))
    return events


@st.composite
def histories(draw: st.DrawFn) -> list[list[Record]]:
    """Records as they landed: shuffled, some twice, in up to four pieces.

    But reports of a toot whose clock is ahead keep their order: one key, so one partition.
    """
    numbers = sorted(draw(st.sets(st.integers(0, 5), min_size=1, max_size=4)))
    events = [event for number in numbers for event in draw(reports(number))]
    shuffled = draw(st.permutations(events))
    places = [place for place, event in enumerate(shuffled) if _is_ahead(event)]
    in_order = sorted((shuffled[place] for place in places), key=lambda event: event["ingested_at"])
    for place, event in zip(places, in_order, strict=True):
        shuffled[place] = event
    ordered = [
        {
            **event,
            "kafka_offset": offset,
            "kafka_partition": offset % 2,
            "ingested_at": event["ingested_at"]
            if _is_ahead(event)
            else HOUR + timedelta(seconds=offset // 2),
        }
        for offset, event in enumerate(shuffled)
    ]
    cuts = sorted(draw(st.lists(st.integers(0, len(ordered)), max_size=3)))
    pieces = [
        ordered[start:end] for start, end in zip([0, *cuts], [*cuts, len(ordered)], strict=True)
    ]
    again = draw(st.lists(st.sampled_from(ordered), max_size=3)) if ordered else []
    return [*pieces, again]


def _is_ahead(event: Record) -> bool:
    return bool(event["created_at"] == event["ingested_at"] + AHEAD)


def is_of_home(event: Record) -> bool:
    """The toot's own server reported it."""
    return bool(event["uri"].startswith(f"{event['base_url']}/"))


def recount_hour(
    records: Iterable[Record], before: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Each toot's final state by uri, from the records of one hour, and the hour before it."""
    counted_before = {uri for uri, toot in before.items() if toot["clock_ahead"]}
    toots: dict[str, list[Record]] = {}
    deletes = []
    for event in records:
        if event["event"] == "delete":
            deletes.append(event)
        elif event["uri"] not in counted_before:
            toots.setdefault(event["uri"], []).append(event)
    states = {}
    for uri, versions in toots.items():
        own = [version for version in versions if is_of_home(version)]
        home = uri.split("/")[2]
        named = [version for version in versions if version["server"] == home]
        trusted = own or named or versions
        newest = max(
            trusted,
            key=lambda version: (
                version["edited_at"] or version["created_at"],
                version["ingested_at"],
                version["kafka_partition"],
                version["kafka_offset"],
            ),
        )
        ids = {(version["base_url"], version["status_id"]) for version in versions}
        reported = [
            event
            for event in deletes
            if event["uri"] == uri or (event["base_url"], event["status_id"]) in ids
        ]
        if any(version["source"] == "stream" for version in own):
            reported = [event for event in reported if event["base_url"] == own[0]["base_url"]]
        deleted = bool(reported)
        withheld = any(
            version["characters"] and not version["mastodon_text"] for version in trusted
        )
        states[uri] = {
            "server": newest["server"],
            "username": newest["username"],
            "app": max(version["app"] for version in trusted),
            "language_primary": newest["language_primary"],
            "bot": newest["bot"],
            "reply": newest["reply"],
            "media": newest["media"],
            "links": newest["links"],
            "has_quote": newest["has_quote"],
            "edited_at": newest["edited_at"],
            "mastodon_text": "" if deleted or withheld else newest["mastodon_text"],
            "tag_names": [] if deleted or withheld else newest["tag_names"],
            "seen_by": sorted({version["base_url"] for version in versions}),
            "deleted": deleted,
            "clock_ahead": _is_ahead(newest),
        }
    return states


def build_what_is_stale(lake: Lake) -> None:
    """Build as the sensor and its runs do; afterwards everything is current."""
    build_hours(lake, *scan(lake, Cursor(), NOW, FIRST_DAY).stale_hours)
    for day in scan(lake, Cursor(), NOW, FIRST_DAY).stale_days:
        for table in DAILY_TABLES:
            if table is TERM_MENTIONS:
                build_daily(lake, day, table, terms=["version"])
            else:
                table.build(lake, day)
    freshness = scan(lake, Cursor(), NOW, FIRST_DAY)
    assert (freshness.stale_hours, freshness.stale_days) == ((), ())


@settings(max_examples=20, deadline=None)
@given(pieces=histories(), slice_records=st.sampled_from([1, 4, SLICE_RECORDS]))
def test_tables_equal_a_recount_in_plain_python(
    pieces: list[list[Record]], slice_records: int
) -> None:
    """Whatever was reported, in whatever order, and whenever and in whatever slices it was built.

    Shows G13 and G15.
    """
    with (
        tempfile.TemporaryDirectory() as directory,
        local_lake(Path(directory), threads=2) as lake,
        slices_of(slice_records),
    ):
        for number, piece in enumerate(pieces):
            land(lake, *piece, name=f"{number}")
            build_what_is_stale(lake)
        compare(lake, [event for piece in pieces for event in piece])


def compare(lake: Lake, history: list[Record]) -> None:
    """Compare every table of the lake with the history, counted in plain Python."""
    expected: dict[datetime, dict[str, dict[str, Any]]] = {}
    for hour in HOURS:
        next_hour = hour + timedelta(hours=1)
        events = [event for event in history if hour <= event["created_at"] < next_hour]
        expected[hour] = recount_hour(events, expected.get(hour - timedelta(hours=1), {}))
        if events:
            compare_hour(lake, hour, expected[hour])
    of_the_day = [toot for toots in expected.values() for toot in toots.values()]
    assert len({uri for toots in expected.values() for uri in toots}) == len(of_the_day)
    if any(lake.parquet_files(lake.layout.toots(hour)) for hour in HOURS):
        compare_day(lake, of_the_day)
    compare_texts(lake, {toot["mastodon_text"] for toot in of_the_day} - {""})

    wild = {event["created_at"] for event in history} & set(WILD)
    ignored = scan(lake, Cursor(), NOW, FIRST_DAY).ignored
    assert len(ignored) == len(wild), "wrong clocks create no hours, and are reported"


def compare_hour(lake: Lake, hour: datetime, expected: dict[str, dict[str, Any]]) -> None:
    """Compare the hour's two tables, and run its checks."""
    toots = rows(lake, lake.layout.toots(hour))
    assert len(toots) == len(expected)
    for toot in toots:
        state = dict(expected[toot["uri"]])
        del state["clock_ahead"]
        assert {name: toot[name] for name in state} == state
    per_server = rows(lake, lake.layout.toots_per_server(hour))
    assert {row["server"]: row["toots"] for row in per_server} == Counter(
        toot["server"] for toot in expected.values()
    )
    for row in per_server:
        of_server = [toot for toot in expected.values() if toot["server"] == row["server"]]
        assert row["users"] == len({toot["username"] for toot in of_server})
        assert row["seen_by"] == len({url for toot in of_server for url in toot["seen_by"]})
    compare_hashtags(lake, hour, list(expected.values()))
    assert no_duplicate_toots(lake, [hour]).passed
    assert hours_equal_recount(lake, [hour]) == Finding(compared=1, faults=())


def compare_hashtags(lake: Lake, hour: datetime, toots: list[dict[str, Any]]) -> None:
    """Compare the hour's hashtags, and run their check."""
    tagged: dict[str, list[dict[str, Any]]] = {}
    spellings: dict[str, Counter[str]] = {}
    for toot in toots:
        for name in toot["tag_names"]:
            tagged.setdefault(name.lower(), []).append(toot)
            spellings.setdefault(name.lower(), Counter())[name] += 1
    counted = rows(lake, lake.layout.hourly("hashtag_usage", hour))
    assert {row["tag"]: row["toots"] for row in counted} == {
        tag: len(toots) for tag, toots in tagged.items()
    }
    for row in counted:
        toots_of_tag, uses = tagged[row["tag"]], spellings[row["tag"]]
        assert row["users"] == len({(t["username"], t["server"]) for t in toots_of_tag})
        assert row["servers"] == len({t["server"] for t in toots_of_tag})
        assert row["spelling"] == min(uses, key=lambda name: (-uses[name], name))
    assert hashtags_equal_recount(lake, "hashtag_usage", [hour]) == Finding(1, ())


def compare_users_and_media(lake: Lake, toots: list[dict[str, Any]]) -> None:
    """Compare the day's accounts, people and bots, and what its toots have beside their text."""
    bots: dict[tuple[str, str], bool] = {}
    for toot in toots:
        account = toot["server"], toot["username"]
        bots[account] = bots.get(account, False) or toot["bot"]
    active = {row["server"]: row for row in rows(lake, lake.layout.daily("active_users", DAY))}
    for server in {server for server, _ in bots} | {ALL}:
        of_server = [bot for (home, _), bot in bots.items() if server in (home, ALL)]
        for window in ("", "_7_days", "_28_days"):
            assert active[server][f"people{window}"] == of_server.count(False)
            assert active[server][f"bots{window}"] == of_server.count(True)
    media = {row["server"]: row for row in rows(lake, lake.layout.daily("media_usage", DAY))}
    for server in {toot["server"] for toot in toots}:
        of_home = [toot for toot in toots if toot["server"] == server]
        assert media[server]["toots"] == len(of_home)
        for column, field in (
            *(("with_media", "media"), ("with_quote", "has_quote"), ("with_links", "links")),
            ("self_replies", "reply"),
        ):
            assert media[server][column] == sum(bool(toot[field]) for toot in of_home), column


def compare_day(lake: Lake, toots: list[dict[str, Any]]) -> None:
    """Compare the daily tables, and run their checks; unknown languages and apps have rows."""
    (day,) = rows(lake, lake.layout.daily("daily_usage", DAY))
    assert day["toots"] == len(toots)
    assert day["users"] == len({(toot["username"], toot["server"]) for toot in toots})
    assert day["servers"] == len({toot["server"] for toot in toots})
    for table, column in (("language_usage", "language_primary"), ("app_usage", "app")):
        counts = {row[column]: row["toots"] for row in rows(lake, lake.layout.daily(table, DAY))}
        assert counts == Counter(toot[column] for toot in toots)
    (mentions,) = rows(lake, lake.layout.daily("term_mentions", DAY))
    assert mentions["mentions"] == sum("version" in toot["mastodon_text"] for toot in toots)
    compare_users_and_media(lake, toots)
    for finding in (
        active_users_equal_recount(lake, "active_users", [DAY]),
        toots_sum_to_the_day(lake, "media_usage", [DAY]),
        day_equals_its_hours(lake, "daily_usage", [DAY]),
        toots_sum_to_the_day(lake, "app_usage", [DAY]),
        toots_sum_to_the_day(lake, "language_usage", [DAY]),
        mentions_are_possible(lake, "term_mentions", [DAY]),
    ):
        assert finding == Finding(compared=1, faults=())


def compare_texts(lake: Lake, allowed: set[str]) -> None:
    """Check that no other text is in any file that was built; none at all beside `toots`."""
    for file in lake.parquet_files(f"{lake.layout.root}/"):
        if file.path.startswith(lake.layout.landed()):
            continue
        texts = {
            value
            for row in rows(lake, file.path)
            for value in row.values()
            if isinstance(value, str) and SECRET in value
        }
        in_toots = file.path.endswith("/toots.parquet")
        assert texts <= (allowed if in_toots else set()), file.path
