"""The chain of queries against a recount in plain Python, on generated histories.

A history is what several servers told, in any order, of toots that were posted, edited, deleted
and federated over two hours: records delivered twice, deletes and authors' noindex long after the
toot, versions out of order and with equal edit times, deletes that name no uri, clocks of 1970
and 9999, clocks that run ahead and are told of by two servers across a full hour. It lands in
pieces, and after each the hours that are stale are built, as the sensor asks for them.
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
from mastodon_pipeline.usage.checks.tables import (
    day_equals_its_hours,
    hours_equal_recount,
    mentions_are_possible,
    no_duplicate_toots,
    toots_sum_to_the_day,
)
from mastodon_pipeline.usage.refreshing.freshness import Cursor, look
from mastodon_pipeline.usage.tables.building import (
    DAILY_TABLES,
    build_daily,
    build_toots,
    build_toots_per_server,
)
from mastodon_pipeline_tests.support.local_lake import (
    DAY,
    HOUR,
    Record,
    delete,
    land,
    local_lake,
    record,
    rows,
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
"""Stands in every text, so that a text that is left anywhere is found by its bytes."""


@st.composite
def tellings(draw: st.DrawFn, number: int) -> list[Record]:
    """What the servers told of one toot; some versions may never have arrived."""
    home = SERVERS[number % 3]
    # The millisecond keeps it from looking like a time of the listener's own.
    posted = draw(st.sampled_from(HOURS)) + timedelta(minutes=number, milliseconds=1)
    clock = draw(st.sampled_from(["right", "right", "ahead", "wild"]))
    claimed = draw(st.sampled_from(WILD)) if clock == "wild" else posted
    author = {
        "uri": f"https://{home}/{number}",
        "server": home,
        "username": f"user{number % 2}",
        "bot": number == 3,
        "reply": number == 4,
        "language_primary": ("", "en", "xx-unheard-of")[number % 3],
    }
    noindex = draw(st.sampled_from(["never", "from the start", "later"]))
    told = []
    for observer in sorted(draw(st.sets(st.sampled_from(SERVERS), min_size=2))):
        seen: Record = {"base_url": f"https://{observer}", "status_id": f"{observer}-{number}"}
        if clock == "ahead":
            # Years ahead, so each telling has the listener's time: on both sides of the full hour.
            read = NEXT - AHEAD + timedelta(minutes=draw(st.sampled_from([-3, 2])), seconds=number)
            seen |= {"ingested_at": read}
            claimed = read + AHEAD
        for version in sorted(draw(st.sets(st.integers(0, 3), min_size=1))):
            edited = claimed + timedelta(seconds=min(version, 2)) if version else None
            withheld = noindex == "from the start" or (noindex == "later" and version > 1)
            text = "" if withheld and observer == home else f"{SECRET} version {version}"
            told.append(
                record(
                    **author,
                    **seen,
                    app=("", "Tusky", "an unheard-of app")[number % 3] if observer == home else "",
                    created_at=claimed,
                    event="status.update" if version else "update",
                    # The third edit is as old as the second: the newest reading wins.
                    edited_at=edited if clock == "right" else None,
                    mastodon_text=text,
                    characters=len(f"{SECRET} version {version}"),
                    tag_names=["cats"],
                    tags=1,
                )
            )
        if told and draw(st.integers(0, 3)) == 0:
            uri = author["uri"] if draw(st.booleans()) else ""
            told.append(delete(uri=uri, server=home, created_at=claimed, **seen))
    return told


@st.composite
def histories(draw: st.DrawFn) -> list[list[Record]]:
    """Records as they landed: shuffled, some twice, in up to four pieces.

    But what a toot's key says of its clock keeps its order: one partition, read in order.
    """
    numbers = sorted(draw(st.sets(st.integers(0, 5), min_size=1, max_size=4)))
    told = [one for number in numbers for one in draw(tellings(number))]
    shuffled = draw(st.permutations(told))
    places = [place for place, one in enumerate(shuffled) if _is_ahead(one)]
    in_order = sorted((shuffled[place] for place in places), key=lambda one: one["ingested_at"])
    for place, one in zip(places, in_order, strict=True):
        shuffled[place] = one
    ordered = [
        {
            **one,
            "_offset": offset,
            "_partition": offset % 2,
            "ingested_at": one["ingested_at"]
            if _is_ahead(one)
            else HOUR + timedelta(seconds=offset // 2),
        }
        for offset, one in enumerate(shuffled)
    ]
    cuts = sorted(draw(st.lists(st.integers(0, len(ordered)), max_size=3)))
    pieces = [
        ordered[start:end] for start, end in zip([0, *cuts], [*cuts, len(ordered)], strict=True)
    ]
    again = draw(st.lists(st.sampled_from(ordered), max_size=3)) if ordered else []
    return [*pieces, again]


def _is_ahead(one: Record) -> bool:
    return bool(one["created_at"] == one["ingested_at"] + AHEAD)


def recount_hour(
    records: Iterable[Record], before: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Each toot's end state by uri, of the records of one hour, and of the hour before it."""
    told_before = {uri for uri, toot in before.items() if toot["clamped"]}
    toots: dict[str, list[Record]] = {}
    deletes = []
    for one in records:
        if one["event"] == "delete":
            deletes.append(one)
        elif one["uri"] not in told_before:
            toots.setdefault(one["uri"], []).append(one)
    gone = {one["uri"] for one in deletes}
    gone_ids = {(one["base_url"], one["status_id"]) for one in deletes}
    found = {}
    for uri, versions in toots.items():
        newest = max(
            versions,
            key=lambda one: (
                one["edited_at"] or one["created_at"],
                one["ingested_at"],
                one["_partition"],
                one["_offset"],
            ),
        )
        deleted = uri in gone or any(
            (one["base_url"], one["status_id"]) in gone_ids for one in versions
        )
        withheld = any(one["characters"] and not one["mastodon_text"] for one in versions)
        found[uri] = {
            "server": newest["server"],
            "username": newest["username"],
            "app": max(one["app"] for one in versions),
            "language_primary": newest["language_primary"],
            "edited_at": newest["edited_at"],
            "mastodon_text": "" if deleted or withheld else newest["mastodon_text"],
            "tag_names": [] if deleted else newest["tag_names"],
            "seen_by": sorted({one["base_url"] for one in versions}),
            "deleted": deleted,
            "clamped": _is_ahead(newest),
        }
    return found


def build_what_is_stale(lake: Lake) -> None:
    """As the sensor and its runs do; afterwards everything is current."""
    for hour in look(lake, Cursor(), NOW, FIRST_DAY).stale_hours:
        build_toots(lake, hour)
        build_toots_per_server(lake, hour)
    for day in look(lake, Cursor(), NOW, FIRST_DAY).stale_days:
        for table in DAILY_TABLES:
            terms = {"terms": ["version"]} if table == "term_mentions" else {}
            build_daily(lake, day, table, **terms)
    found = look(lake, Cursor(), NOW, FIRST_DAY)
    assert (found.stale_hours, found.stale_days) == ((), ())


@settings(max_examples=20, deadline=None)
@given(pieces=histories())
def test_the_tables_equal_a_recount_in_plain_python(pieces: list[list[Record]]) -> None:
    """Invariant 3 and 4, whatever was told, in whatever order, and whenever it was built."""
    with tempfile.TemporaryDirectory() as directory, local_lake(Path(directory)) as lake:
        for number, piece in enumerate(pieces):
            land(lake, *piece, name=f"{number}")
            build_what_is_stale(lake)
        compare(lake, [one for piece in pieces for one in piece])


def compare(lake: Lake, history: list[Record]) -> None:
    """Every table of the lake is what the history comes to, counted in plain Python."""
    expected: dict[datetime, dict[str, dict[str, Any]]] = {}
    for hour in HOURS:
        those = [one for one in history if hour <= one["created_at"] < hour + timedelta(hours=1)]
        expected[hour] = recount_hour(those, expected.get(hour - timedelta(hours=1), {}))
        if those:
            compare_hour(lake, hour, expected[hour])
    of_the_day = [toot for toots in expected.values() for toot in toots.values()]
    assert len({uri for toots in expected.values() for uri in toots}) == len(of_the_day)
    if any(lake.parquet_files(lake.layout.toots(hour)) for hour in HOURS):
        compare_day(lake, of_the_day)
    compare_what_is_left(lake, {toot["mastodon_text"] for toot in of_the_day} - {""})

    wild = {one["created_at"] for one in history} & set(WILD)
    ignored = look(lake, Cursor(), NOW, FIRST_DAY).ignored
    assert len(ignored) == len(wild), "wild clocks create no hours, and are told of"


def compare_hour(lake: Lake, hour: datetime, expected: dict[str, dict[str, Any]]) -> None:
    """The hour's two tables, and its checks."""
    toots = rows(lake, lake.layout.toots(hour))
    assert len(toots) == len(expected)
    for toot in toots:
        told = {name: value for name, value in expected[toot["uri"]].items() if name != "clamped"}
        assert {name: toot[name] for name in told} == told
    per_server = rows(lake, lake.layout.toots_per_server(hour))
    assert {row["server"]: row["toots"] for row in per_server} == Counter(
        toot["server"] for toot in expected.values()
    )
    for row in per_server:
        those = [toot for toot in expected.values() if toot["server"] == row["server"]]
        assert row["users"] == len({toot["username"] for toot in those})
        assert row["seen_by"] == len({url for toot in those for url in toot["seen_by"]})
    assert no_duplicate_toots(lake, [hour]).passed
    recount = hours_equal_recount(lake, [hour])
    assert (recount.faults, recount.compared) == ((), 1)


def compare_day(lake: Lake, toots: list[dict[str, Any]]) -> None:
    """The daily tables, and their checks; unknown languages and apps have rows of their own."""
    (day,) = rows(lake, lake.layout.daily("daily_usage", DAY))
    assert day["toots"] == len(toots)
    assert day["users"] == len({(one["username"], one["server"]) for one in toots})
    assert day["servers"] == len({one["server"] for one in toots})
    for table, column in (("language_usage", "language_primary"), ("app_usage", "app")):
        found = {row[column]: row["toots"] for row in rows(lake, lake.layout.daily(table, DAY))}
        assert found == Counter(toot[column] for toot in toots)
    (mentions,) = rows(lake, lake.layout.daily("term_mentions", DAY))
    assert mentions["mentions"] == sum("version" in toot["mastodon_text"] for toot in toots)
    for finding in (
        day_equals_its_hours(lake, "daily_usage", [DAY]),
        toots_sum_to_the_day(lake, "app_usage", [DAY]),
        toots_sum_to_the_day(lake, "language_usage", [DAY]),
        mentions_are_possible(lake, "term_mentions", [DAY]),
    ):
        assert (finding.faults, finding.compared) == ((), 1)


def compare_what_is_left(lake: Lake, allowed: set[str]) -> None:
    """No text but these is in any file that was built; none at all beside `toots`."""
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
