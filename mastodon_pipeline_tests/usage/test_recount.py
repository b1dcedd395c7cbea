"""The chain of queries against a recount in plain Python, on generated histories.

A history is what several servers told, in any order, of toots that were posted, edited, deleted
and federated: records delivered twice, deletes before their toots, versions out of order, authors
who said noindex, deletes that name no uri.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mastodon_pipeline.usage.checks import hours_equal_recount, no_duplicate_toots
from mastodon_pipeline.usage.lake import Lake
from mastodon_pipeline.usage.tables import build_daily, build_toots, build_toots_per_server
from mastodon_pipeline_tests.usage.local_lake import (
    DAY,
    HOUR,
    Record,
    delete,
    local_lake,
    record,
    rows,
    write_parquet,
)

SERVERS = ("one.example", "two.example", "three.example")


@pytest.fixture(scope="module")
def shared_lake() -> Iterator[Lake]:
    """One lake for all examples; each replaces the hour's landed file."""
    with tempfile.TemporaryDirectory() as directory, local_lake(Path(directory)) as lake:
        yield lake


@st.composite
def tellings(draw: st.DrawFn) -> list[Record]:
    """What the servers told of one toot; some of it may never have arrived."""
    number = draw(st.integers(0, 4))
    home = SERVERS[number % 3]
    created_at = HOUR + timedelta(seconds=number * 60)
    author = {
        "uri": f"https://{home}/{number}",
        "server": home,
        "username": f"user{number % 2}",
        "bot": number == 3,
        "reply": number == 4,
        "language_primary": ("", "en", "de")[number % 3],
        "created_at": created_at,
    }
    noindex = draw(st.booleans())
    told = []
    for observer in draw(st.sets(st.sampled_from(SERVERS), min_size=1)):
        seen = {"base_url": f"https://{observer}", "status_id": f"{observer}-{number}"}
        for version in draw(st.sets(st.integers(0, 2))):
            text = "" if noindex and observer == home else f"version {version}"
            told.append(
                record(
                    **author,
                    **seen,
                    event="status.update" if version else "update",
                    edited_at=created_at + timedelta(seconds=version) if version else None,
                    mastodon_text=text,
                    tag_names=["cats"],
                    tags=1,
                )
            )
        if draw(st.integers(0, 3)) == 0:
            uri = author["uri"] if draw(st.booleans()) else ""
            told.append(delete(uri=uri, server=home, created_at=created_at, **seen))
    return told


@st.composite
def histories(draw: st.DrawFn) -> list[Record]:
    """Records of an hour as they landed: shuffled, some twice."""
    told = [one for toot in draw(st.lists(tellings(), max_size=4)) for one in toot]
    ordered = [
        {
            **one,
            "_offset": offset,
            "_partition": offset % 2,
            "ingested_at": HOUR + timedelta(seconds=offset // 2),
        }
        for offset, one in enumerate(draw(st.permutations(told)))
    ]
    twice = draw(st.lists(st.sampled_from(ordered), max_size=3)) if ordered else []
    return ordered + twice


def recount_toots(history: list[Record]) -> dict[str, dict[str, Any]]:
    """Each toot's end state, by uri."""
    toots: dict[str, list[Record]] = {}
    for one in history:
        if one["event"] != "delete":
            toots.setdefault(one["uri"], []).append(one)
    deletes = [one for one in history if one["event"] == "delete"]
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
            "language_primary": newest["language_primary"],
            "edited_at": newest["edited_at"],
            "mastodon_text": "" if deleted or withheld else newest["mastodon_text"],
            "tag_names": [] if deleted else newest["tag_names"],
            "seen_by": sorted({one["base_url"] for one in versions}),
            "deleted": deleted,
        }
    return found


@settings(max_examples=25, deadline=None)
@given(history=histories())
def test_the_tables_equal_a_recount_in_plain_python(
    shared_lake: Lake, history: list[Record]
) -> None:
    """Invariant 3 and 4, whatever was told, and in whatever order."""
    lake = shared_lake
    write_parquet(lake.connection, f"{lake.layout.landed_hour(HOUR)}a.parquet", history)
    expected = recount_toots(history)

    toots = rows(lake, build_toots(lake, HOUR).path)
    assert {
        toot["uri"]: {name: toot[name] for name in next(iter(expected.values()))} for toot in toots
    } == expected
    assert len(toots) == len(expected)

    per_server = rows(lake, build_toots_per_server(lake, HOUR).path)
    assert {row["server"]: row["toots"] for row in per_server} == Counter(
        toot["server"] for toot in expected.values()
    )
    for row in per_server:
        those = [toot for toot in expected.values() if toot["server"] == row["server"]]
        assert row["users"] == len({toot["username"] for toot in those})
        assert row["seen_by"] == len({url for toot in those for url in toot["seen_by"]})

    (day,) = rows(lake, build_daily(lake, DAY, "daily_usage").path)
    assert day["toots"] == len(expected)
    assert day["users"] == len({(one["username"], one["server"]) for one in expected.values()})

    languages = rows(lake, build_daily(lake, DAY, "language_usage").path)
    assert {row["language_primary"]: row["toots"] for row in languages} == Counter(
        toot["language_primary"] for toot in expected.values()
    )
    mentions = rows(lake, build_daily(lake, DAY, "term_mentions", terms=["version"]).path)
    assert [row["mentions"] for row in mentions] == [
        sum("version" in toot["mastodon_text"] for toot in expected.values())
    ]

    assert no_duplicate_toots(lake, [HOUR]).passed
    recount = hours_equal_recount(lake, [HOUR])
    assert (recount.faults, recount.compared) == ((), 1)
