"""Hours whose landed files were removed: their toots are kept, and what comes late joins them."""

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mastodon_pipeline.errors import TableError
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.checks.tables import hours_equal_recount
from mastodon_pipeline.usage.inputs.removed_hours import hour_records
from mastodon_pipeline.usage.tables.building import build_toots, build_toots_per_server
from mastodon_pipeline_tests.support.local_lake import (
    HOUR,
    Record,
    delete,
    in_order,
    land,
    local_lake,
    record,
    rows,
    write_parquet,
)

pytestmark = pytest.mark.thorough


def build(lake: Lake) -> list[Record]:
    """Builds the hour's tables, and gives its toots."""
    build_toots(lake, HOUR)
    build_toots_per_server(lake, HOUR)
    return rows(lake, lake.layout.toots(HOUR))


def receipt(lake: Lake) -> None:
    """Says that landed files of the hour were removed, as maintenance does before it removes."""
    write_parquet(lake.connection, f"{lake.layout.removed_hour(HOUR)}a.parquet", [record()])


def remove(lake: Lake, *, all_but: int = 0) -> None:
    """Removes the hour's landed files, or leaves some of them, as if killed amidst it."""
    receipt(lake)
    for file in lake.parquet_files(lake.layout.landed_hour(HOUR))[all_but:]:
        Path(file.path).unlink()


def test_a_late_toot_joins_the_toots_of_an_hour_whose_files_were_removed(lake: Lake) -> None:
    """It alone is in the folder then, and the hour counts both."""
    land(lake, record(uri="a"), record(uri="b", server="two.example"))
    build(lake)
    remove(lake)
    land(lake, record(uri="late"), name="late")
    assert [row["uri"] for row in build(lake)] == ["a", "late", "b"]
    counts = rows(lake, lake.layout.toots_per_server(HOUR))
    assert {row["server"]: row["toots"] for row in counts} == {"one.example": 2, "two.example": 1}


def test_a_rebuild_without_a_late_toot_changes_nothing(lake: Lake) -> None:
    """Nothing landed does not mean that there is nothing."""
    land(lake, record(uri="a"))
    before = build(lake)
    remove(lake)
    assert build_toots(lake, HOUR).kept
    assert build(lake) == before


def test_a_removal_that_was_killed_halfway_loses_nothing(lake: Lake) -> None:
    """Some of the files are still there, and are no reason to forget the others."""
    land(lake, record(uri="a"), name="a")
    land(lake, record(uri="b"), name="b")
    before = build(lake)
    remove(lake, all_but=1)
    assert build(lake) == before


def test_merging_twice_is_merging_once(lake: Lake) -> None:
    """The late file stays in the folder, and every build reads it again."""
    land(lake, record(uri="a"))
    build(lake)
    remove(lake)
    land(lake, record(uri="late"), record(base_url="https://two.example", uri="a"), name="late")
    once = build(lake)
    assert build(lake) == once
    assert once[0]["seen_by"] == ["https://one.example", "https://two.example"]


def test_a_late_delete_empties_a_kept_toot(lake: Lake) -> None:
    """By uri, and by the observing server's own status id."""
    land(lake, record(uri="a"), record(uri="b", status_id="2"), record(uri="c", status_id="3"))
    build(lake)
    remove(lake)
    land(lake, delete(uri="a"), delete(uri="", status_id="2"), name="late")
    assert [(row["uri"], row["deleted"], row["mastodon_text"]) for row in build(lake)] == [
        ("a", True, ""),
        ("b", True, ""),
        ("c", False, "hello"),
    ]


def test_no_late_copy_brings_back_the_text_of_a_kept_toot(lake: Lake) -> None:
    """Not after its delete, and not where its author said noindex to one of the servers."""
    land(lake, *in_order(record(uri="a"), delete(uri="a"), record(uri="b", mastodon_text="")))
    build(lake)
    remove(lake)
    later = HOUR + timedelta(hours=2)
    land(lake, record(uri="a", edited_at=later), record(uri="b", ingested_at=later), name="late")
    found = build(lake)
    assert [(row["uri"], row["mastodon_text"]) for row in found] == [("a", ""), ("b", "")]
    assert found[0]["deleted"]


def test_a_late_edit_wins_over_a_kept_toot(lake: Lake) -> None:
    """And an older one does not."""
    land(lake, record(edited_at=HOUR + timedelta(minutes=9), mastodon_text="second"))
    build(lake)
    remove(lake)
    land(lake, record(mastodon_text="first"), name="older")
    assert [row["mastodon_text"] for row in build(lake)] == ["second"]
    land(lake, record(edited_at=HOUR + timedelta(hours=1), mastodon_text="third"), name="newer")
    assert [row["mastodon_text"] for row in build(lake)] == ["third"]


def test_the_recount_follows_to_the_kept_toots(lake: Lake) -> None:
    """Its faults are found with the landed files gone, and beside a late one."""
    land(lake, record(uri="a"), record(uri="b", base_url="https://two.example"))
    build(lake)
    remove(lake)
    finding = hours_equal_recount(lake, [HOUR])
    assert (finding.compared, finding.faults) == (1, ())
    land(lake, record(uri="late"), name="late")
    assert hours_equal_recount(lake, [HOUR]).unsettled == 1
    build(lake)
    finding = hours_equal_recount(lake, [HOUR])
    assert (finding.compared, finding.faults) == (1, ())
    table = lake.layout.toots_per_server(HOUR)
    built_from = lake.built_from([table])[table]
    lake.connection.execute(
        "COPY (SELECT * REPLACE (toots + 1 AS toots) FROM read_parquet($table)) TO $table"
        " (FORMAT parquet, KV_METADATA {built_from: $built_from})",
        {"table": table, "built_from": built_from},
    )
    (fault,) = hours_equal_recount(lake, [HOUR]).faults
    assert "toots 4, recounted 3" in fault


def test_without_its_toots_such_an_hour_is_not_built(lake: Lake) -> None:
    """A late toot would stand for the whole hour; what to do is said instead."""
    land(lake, record(uri="a"))
    build(lake)
    remove(lake)
    Path(lake.layout.toots(HOUR)).unlink()
    land(lake, record(uri="late"), name="late")
    with pytest.raises(TableError, match="put it back from a backup"):
        build_toots(lake, HOUR)
    assert not Path(lake.layout.toots(HOUR)).exists()


def test_kept_toots_leave_no_file_behind(lake: Lake) -> None:
    """They are read through a temporary file, which holds people's texts."""
    land(lake, record())
    build(lake)
    receipt(lake)
    with hour_records(lake, HOUR) as records:
        assert Path(records.paths[-1]).exists()
    assert not Path(records.paths[-1]).exists()


SERVERS = st.sampled_from(["https://one.example", "https://two.example", "https://three.example"])


@st.composite
def histories(draw: st.DrawFn) -> list[Record]:
    """What servers told of three toots in one hour, in the order in which it was read."""
    records = []
    for _ in range(draw(st.integers(1, 8))):
        uri = draw(st.sampled_from("abc"))
        base_url = draw(SERVERS)
        if draw(st.integers(0, 5)) == 0:
            records.append(delete(uri=uri, base_url=base_url))
            continue
        edited = draw(st.none() | st.integers(1, 3).map(lambda n: HOUR + timedelta(minutes=n)))
        records.append(
            record(
                uri=uri,
                base_url=base_url,
                status_id=uri + base_url,
                edited_at=edited,
                mastodon_text=draw(st.sampled_from(["hello", "hi", ""])),
                app=draw(st.sampled_from(["", "Tusky"])),
                tag_names=draw(st.sampled_from([[], ["cat"]])),
            )
        )
    return in_order(*records)


@given(history=histories(), cut=st.integers(0, 8), left=st.integers(0, 1))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_removed_and_merged_is_as_if_nothing_was_removed(
    history: list[Record], cut: int, left: int
) -> None:
    """Wherever the removal falls in an hour's history, and however much of it was done.

    But for one thing: a delete that came before anybody told of its toot.
    """
    told = {one["uri"] for one in history[:cut] if one["event"] != "delete"}
    early = {one["uri"] for one in history[:cut] if one["event"] == "delete"} - told
    history = [one for one in history if one["uri"] not in early]
    with TemporaryDirectory() as one, TemporaryDirectory() as two:
        with local_lake(Path(one)) as whole:
            land(whole, *history)
            expected = build(whole)
        with local_lake(Path(two)) as lake:
            before = [record for record in history[:cut] if record in history]
            for number, each in enumerate(before):
                land(lake, each, name=f"{number}")
            build(lake)
            remove(lake, all_but=left)
            land(lake, *[each for each in history if each not in before], name="late")
            assert build(lake) == expected
            assert hours_equal_recount(lake, [HOUR]).faults == ()
