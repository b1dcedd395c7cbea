"""Hours whose landed files were removed: their toots stay, and late toots are merged in."""

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mastodon_pipeline.errors import RecordsGone
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.maintenance.verification import why_not_verified
from mastodon_pipeline.usage.checks.hours import hours_equal_recount
from mastodon_pipeline.usage.inputs.hour_records import SLICE_RECORDS, hour_records
from mastodon_pipeline.usage.tables.hourly import build_toots
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.local_lake import (
    HOUR,
    Record,
    delete,
    in_order,
    land,
    local_lake,
    record,
    rows,
    slices_of,
    write_parquet,
)

pytestmark = pytest.mark.thorough


def build(lake: Lake) -> list[Record]:
    """Build the hour's tables, and return its toots."""
    build_hours(lake, HOUR)
    return rows(lake, lake.layout.toots(HOUR))


def write_receipt(lake: Lake) -> None:
    """Record that landed files of the hour are removed, as maintenance does before it starts."""
    write_parquet(lake.connection, f"{lake.layout.removed_hour(HOUR)}a.parquet", [record()])


def remove(lake: Lake, *, all_but: int = 0) -> None:
    """Remove the hour's landed files, or leave some of them, as if killed half-way."""
    write_receipt(lake)
    for file in lake.parquet_files(lake.layout.landed_hour(HOUR))[all_but:]:
        Path(file.path).unlink()


def test_late_toot_is_merged_with_the_toots_of_an_hour_whose_files_were_removed(
    lake: Lake,
) -> None:
    """Only the late toot is in the folder then, and the hour counts all. Shows G17."""
    land(lake, record(uri="a"), record(uri="b", server="two.example"))
    build(lake)
    remove(lake)
    land(lake, record(uri="late"), name="late")
    assert [row["uri"] for row in build(lake)] == ["a", "late", "b"]
    counts = rows(lake, lake.layout.toots_per_server(HOUR))
    assert {row["server"]: row["toots"] for row in counts} == {"one.example": 2, "two.example": 1}


def test_rebuild_after_removal_changes_nothing(lake: Lake) -> None:
    """An empty folder does not mean that the hour had no toots."""
    land(lake, record(uri="a"))
    before = build(lake)
    remove(lake)
    assert build_toots(lake, HOUR).unchanged
    assert build(lake) == before


def test_removal_killed_halfway_loses_no_toots(lake: Lake) -> None:
    """Some of the files are still there; the toots of the others stay too."""
    land(lake, record(uri="a"), name="a")
    land(lake, record(uri="b"), name="b")
    before = build(lake)
    remove(lake, all_but=1)
    assert build(lake) == before


def test_merging_a_late_file_twice_is_the_same_as_once(lake: Lake) -> None:
    """The late file stays in the folder, and every build reads it again."""
    land(lake, record(uri="a"))
    build(lake)
    remove(lake)
    land(lake, record(uri="late"), record(base_url="https://two.example", uri="a"), name="late")
    toots = build(lake)
    assert build(lake) == toots
    assert toots[0]["seen_by"] == ["https://one.example", "https://two.example"]


def test_late_delete_empties_a_toot_whose_file_was_removed(lake: Lake) -> None:
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


def test_late_copy_does_not_restore_deleted_or_withheld_text(lake: Lake) -> None:
    """Neither after a delete, nor if one of the servers withheld it (noindex). Shows G15."""
    land(lake, *in_order(record(uri="a"), delete(uri="a"), record(uri="b", mastodon_text="")))
    build(lake)
    remove(lake)
    later = HOUR + timedelta(hours=2)
    land(lake, record(uri="a", edited_at=later), record(uri="b", ingested_at=later), name="late")
    toots = build(lake)
    assert [(row["uri"], row["mastodon_text"]) for row in toots] == [("a", ""), ("b", "")]
    assert toots[0]["deleted"]


def test_late_edit_wins_over_a_toot_whose_file_was_removed(lake: Lake) -> None:
    """An older version does not."""
    land(lake, record(edited_at=HOUR + timedelta(minutes=9), mastodon_text="second"))
    build(lake)
    remove(lake)
    land(lake, record(mastodon_text="first"), name="older")
    assert [row["mastodon_text"] for row in build(lake)] == ["second"]
    land(lake, record(edited_at=HOUR + timedelta(hours=1), mastodon_text="third"), name="newer")
    assert [row["mastodon_text"] for row in build(lake)] == ["third"]


def test_recount_finds_faults_in_an_hour_whose_files_were_removed(lake: Lake) -> None:
    """With the landed files gone, and beside a late one."""
    land(lake, record(uri="a"), record(uri="b", base_url="https://two.example"))
    build(lake)
    remove(lake)
    finding = hours_equal_recount(lake, [HOUR])
    assert (finding.compared, finding.faults) == (1, ())
    land(lake, record(uri="late"), name="late")
    assert hours_equal_recount(lake, [HOUR]).skipped == 1
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


def test_hour_without_landed_files_and_toots_is_not_built(lake: Lake) -> None:
    """A late toot would replace the whole hour; the error says what to do."""
    land(lake, record(uri="a"))
    build(lake)
    remove(lake)
    Path(lake.layout.toots(HOUR)).unlink()
    land(lake, record(uri="late"), name="late")
    with pytest.raises(RecordsGone, match="put it back from a backup"):
        build_toots(lake, HOUR)
    assert not Path(lake.layout.toots(HOUR)).exists()


def test_temporary_file_of_toots_as_records_is_removed(lake: Lake) -> None:
    """It holds people's texts."""
    land(lake, record())
    build(lake)
    write_receipt(lake)
    with hour_records(lake, HOUR) as records:
        assert Path(records.paths[-1]).exists()
    assert not Path(records.paths[-1]).exists()


def test_deleted_toot_stays_deleted_when_its_home_server_reports_it_after_the_removal(
    lake: Lake,
) -> None:
    """Another server's delete counted then, and what was deleted is not brought back.

    Shows G15.
    """
    elsewhere = {"base_url": "https://two.example", "status_id": "77", "acct": "ada@one.example"}
    land(lake, *in_order(record(**elsewhere), delete(**elsewhere)))
    build(lake)
    remove(lake)
    land(lake, record(), name="late")
    (toot,) = build(lake)
    assert (toot["deleted"], toot["mastodon_text"], len(toot["seen_by"])) == (True, "", 2)


def test_other_servers_late_edit_does_not_take_over_a_toot_whose_file_was_removed(
    lake: Lake,
) -> None:
    """Nor its delete. Shows G12."""
    elsewhere = {"base_url": "https://two.example", "status_id": "77"}
    land(lake, record())
    build(lake)
    remove(lake)
    forged = record(**elsewhere, edited_at=HOUR.replace(year=9999), mastodon_text="forged")
    land(lake, *in_order(forged, delete(**elsewhere)), name="late")
    (toot,) = build(lake)
    assert (toot["deleted"], toot["mastodon_text"]) == (False, "hello")


SERVERS = st.sampled_from(["https://one.example", "https://two.example", "https://three.example"])


@st.composite
def histories(draw: st.DrawFn) -> list[Record]:
    """What servers reported of three toots in one hour, in the order in which it was read."""
    records = []
    for _ in range(draw(st.integers(1, 8))):
        uri = draw(st.sampled_from(["a", "https://one.example/b", "https://two.example/c"]))
        base_url = draw(SERVERS)
        if draw(st.integers(0, 5)) == 0:
            # Of a toot with a home server, that one's: see the exception below.
            home = "/".join(uri.split("/")[:3]) if "://" in uri else base_url
            records.append(delete(uri=uri, base_url=home))
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


@given(
    history=histories(),
    cut=st.integers(0, 8),
    left=st.integers(0, 1),
    slice_records=st.sampled_from([2, SLICE_RECORDS]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_toots_are_the_same_whether_or_not_files_were_removed(
    history: list[Record], cut: int, left: int, slice_records: int
) -> None:
    """Wherever the removal falls in an hour's history, and however much of it was done.

    Except for a delete that came before any server had reported its toot. Shows G17.
    """
    reported = {event["uri"] for event in history[:cut] if event["event"] != "delete"}
    early = {event["uri"] for event in history[:cut] if event["event"] == "delete"} - reported
    history = [event for event in history if event["uri"] not in early]
    with TemporaryDirectory() as first, TemporaryDirectory() as second:
        with local_lake(Path(first), threads=2) as whole:
            land(whole, *history)
            expected = build(whole)
        with local_lake(Path(second), threads=2) as lake, slices_of(slice_records):
            before = [event for event in history[:cut] if event in history]
            for number, event in enumerate(before):
                land(lake, event, name=f"{number}")
            build(lake)
            remove(lake, all_but=left)
            land(lake, *[event for event in history if event not in before], name="late")
            assert build(lake) == expected
            assert hours_equal_recount(lake, [HOUR]).faults == ()


def test_hour_in_slices_is_verified_before_its_files_are_removed(lake: Lake) -> None:
    """As maintenance does; and a difference in any slice is found."""
    land(lake, *in_order(*(record(uri=f"https://one.example/{n}") for n in range(9))))
    with slices_of(2):
        build(lake)
        files = lake.landed.of_hour(HOUR)
        assert why_not_verified(lake, HOUR, files) is None
        toots = lake.layout.toots(HOUR)
        built_from = lake.built_from([toots])[toots]
        for n in range(9):
            lake.connection.execute(
                f"COPY (FROM read_parquet('{toots}', hive_partitioning := false)"
                f" WHERE uri <> 'https://one.example/{n}')"
                f" TO '{toots}.less' (FORMAT parquet, KV_METADATA {{built_from: '{built_from}'}})"
            )
            whole = Path(toots).read_bytes()
            Path(f"{toots}.less").replace(toots)
            assert why_not_verified(lake, HOUR, files) == "its toots differ from a rebuild (1 rows)"
            Path(toots).write_bytes(whole)
