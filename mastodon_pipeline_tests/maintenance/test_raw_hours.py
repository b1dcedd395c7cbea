"""Which landed hours may go: those whose tables stand for exactly their files."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.maintenance.raw_hours import maintain_raw_hours
from mastodon_pipeline.maintenance.report import Report
from mastodon_pipeline.usage.tables.hourly import build_toots, build_toots_per_server
from mastodon_pipeline_tests.support.local_lake import DAY, HOUR, land, record, rows

LATER = HOUR + timedelta(days=3650)


class DirectoryRemover:
    """Removes from a local lake; `interrupt_after` so many files, as a kill does."""

    def __init__(self, interrupt_after: int = 1000) -> None:
        self.left = interrupt_after

    def progress(self, activity: str) -> None:
        """Nobody is watching."""

    def touch(self, path: str) -> None:
        """Nobody is watching."""

    def remove(self, files: Sequence[StoredFile]) -> None:
        """Removes them one by one."""
        for file in files:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            Path(file.path).unlink()


def build(lake: Lake) -> None:
    """Builds the hour's tables."""
    build_toots(lake, HOUR)
    build_toots_per_server(lake, HOUR)


def landed(lake: Lake) -> list[StoredFile]:
    """The hour's landed files."""
    return lake.parquet_files(lake.layout.landed_hour(HOUR))


def maintain(
    lake: Lake,
    *,
    named: Sequence[str] = (),
    live: Sequence[str] = (),
    settled: datetime = LATER,
    first_day: date = DAY,
    dry_run: bool = False,
    interrupt_after: int = 1000,
) -> tuple[Report, list[str]]:
    """Looks at the hour: what came of it, and which files the table should name no more."""
    report = Report(dry_run)
    drop = maintain_raw_hours(
        *(lake, DirectoryRemover(interrupt_after), report),
        hours={HOUR: landed(lake)},
        named=set(named),
        live=set(live),
        settled=settled,
        first_day=first_day,
    )
    return report, drop


@pytest.fixture
def counted(lake: Lake) -> Lake:
    """A lake with an hour of two files, landed and counted."""
    land(lake, record(uri="a", _offset=3), name="a")
    land(lake, record(uri="b", _offset=4), record(uri="b", _offset=4), name="b")
    build(lake)
    Path(lake.layout.removed_hour(HOUR)).mkdir(parents=True)  # S3 needs none
    return lake


def test_a_verified_hour_goes_and_leaves_its_offsets(counted: Lake) -> None:
    """Each once: what completeness against Kafka is told from."""
    report, drop = maintain(counted)
    assert (report.hours_removed, report.removed.files, drop) == (1, 2, [])
    assert landed(counted) == []
    (receipt,) = counted.parquet_files(counted.layout.removed_hour(HOUR))
    assert rows(counted, receipt.path) == [
        {"_partition": 0, "_offset": 3},
        {"_partition": 0, "_offset": 4},
    ]


def test_an_hour_that_a_snapshot_names_waits(counted: Lake) -> None:
    """All of it, though only one of its files is named; the table is to name it no more."""
    named = [landed(counted)[0].path]
    report, drop = maintain(counted, named=named, live=named)
    assert (report.hours_waiting, report.hours_removed, drop) == (1, 0, named)
    assert len(landed(counted)) == 2


def test_a_dry_run_counts_the_same(counted: Lake) -> None:
    """Files and bytes; and neither removes nor leaves a receipt."""
    would, _ = maintain(counted, dry_run=True)
    assert len(landed(counted)) == 2
    assert counted.parquet_files(counted.layout.removed_hour(HOUR)) == []
    did, _ = maintain(counted)
    assert (would.removed.files, would.removed.bytes) == (did.removed.files, did.removed.bytes)
    assert would.removed.bytes > 0


def test_a_removal_that_is_killed_goes_on_and_loses_nothing(counted: Lake) -> None:
    """Between two files: the hour is behind its folder, is built again, and goes then."""
    before = rows(counted, counted.layout.toots(HOUR))
    with pytest.raises(KeyboardInterrupt):
        maintain(counted, interrupt_after=1)
    assert len(landed(counted)) == 1
    assert maintain(counted)[0].hours_kept == {HOUR: "its tables were made from other files"}
    build(counted)
    assert rows(counted, counted.layout.toots(HOUR)) == before
    assert maintain(counted)[0].hours_removed == 1
    assert rows(counted, counted.layout.toots(HOUR)) == before


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda lake: land(lake, record(uri="c"), name="c"), "its tables were made from other"),
        (lambda lake: Path(lake.layout.toots(HOUR)).unlink(), "its tables are not built"),
        (lambda lake: Path(lake.layout.toots_per_server(HOUR)).unlink(), "are not built"),
        (lambda lake: alter(lake, lake.layout.toots(HOUR), "LIMIT 1"), "rebuild (1 rows)"),
        (
            lambda lake: alter(lake, lake.layout.toots(HOUR), "", "'' AS mastodon_text"),
            "differ from a rebuild (4 rows)",
        ),
        (lambda lake: drop_column(lake), "by another version of the query"),
        (lambda lake: Path(lake.layout.toots(HOUR)).write_bytes(b"PAR1"), "cannot be read"),
        (
            lambda lake: alter(lake, lake.layout.toots_per_server(HOUR), "", "7 AS toots"),
            "toots 7, recounted 2",
        ),
    ],
)
def test_an_hour_whose_tables_do_not_hold_its_files_keeps_them(
    counted: Lake, damage: object, why: str
) -> None:
    """Whatever the tables say of themselves, and whichever of them it is."""
    assert callable(damage)
    damage(counted)
    before = landed(counted)
    report, drop = maintain(counted, live=[before[0].path])
    assert why in report.hours_kept[HOUR]
    assert (landed(counted), drop) == (before, [])


def test_a_young_file_keeps_its_hour(counted: Lake) -> None:
    """Somebody may be about to read it, or to commit it."""
    report, drop = maintain(counted, settled=landed(counted)[0].modified)
    assert report.hours_kept[HOUR].startswith("it got files lately")
    assert drop == []


def test_a_file_that_the_table_names_and_the_bucket_lacks_keeps_its_hour(counted: Lake) -> None:
    """Something is wrong there, and is for a person to look at."""
    lost = counted.layout.landed_hour(HOUR) + "lost.parquet"
    report, drop = maintain(counted, live=[lost])
    assert "not in the bucket" in report.hours_kept[HOUR]
    assert drop == []


def test_hours_that_are_never_counted_keep_their_files(counted: Lake) -> None:
    """Before FIRST_DAY there are no tables that could stand for them."""
    report, _ = maintain(counted, first_day=DAY + timedelta(days=1))
    assert "FIRST_DAY" in report.hours_kept[HOUR]


def alter(lake: Lake, path: str, limit: str = "", replaced: str = "") -> None:
    """Falsifies a table, which goes on saying what it was made from."""
    columns = f"* REPLACE ({replaced})" if replaced else "*"
    write(
        lake, path, f"SELECT {columns} FROM read_parquet($path, hive_partitioning := false)", limit
    )


def drop_column(lake: Lake) -> None:
    """Makes the toots look as an older version of the query made them."""
    path = lake.layout.toots(HOUR)
    write(lake, path, "SELECT * EXCLUDE (media) FROM read_parquet($path)", "")


def write(lake: Lake, path: str, select: str, limit: str) -> None:
    """Writes a query of a table's file in place of the file."""
    lake.connection.execute(
        f"COPY ({select} {limit}) TO $path (FORMAT parquet, KV_METADATA {{built_from: $said}})",
        {"path": path, "said": lake.built_from([path])[path]},
    )
