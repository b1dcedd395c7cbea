"""Which landed hours are removed: those whose tables were built from exactly their files."""

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
    """Removes from a local lake; interrupted after some files, as by a kill."""

    def __init__(self, interrupt_after: int = 1000) -> None:
        self.left = interrupt_after

    def progress(self, activity: str) -> None:
        """Report nothing."""

    def touch(self, path: str) -> None:
        """Write nothing: no sensor watches this lake."""

    def remove(self, files: Sequence[StoredFile]) -> None:
        """Remove the files one by one."""
        for file in files:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            Path(file.path).unlink()


def build(lake: Lake) -> None:
    """Build the hour's tables."""
    build_toots(lake, HOUR)
    build_toots_per_server(lake, HOUR)


def landed(lake: Lake) -> list[StoredFile]:
    """List the hour's landed files."""
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
    """Maintain the hour; return the report, and the files to drop from the table."""
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


def test_verified_hour_is_removed_and_leaves_a_receipt(counted: Lake) -> None:
    """With each offset once, for the completeness check against Kafka."""
    report, drop = maintain(counted)
    assert (report.hours_removed, report.removed.files, drop) == (1, 2, [])
    assert landed(counted) == []
    (receipt,) = counted.parquet_files(counted.layout.removed_hour(HOUR))
    assert rows(counted, receipt.path) == [
        {"_partition": 0, "_offset": 3},
        {"_partition": 0, "_offset": 4},
    ]


def test_hour_with_a_file_that_a_snapshot_names_waits(counted: Lake) -> None:
    """All of it, though only one of its files is named; that one is dropped from the table."""
    named = [landed(counted)[0].path]
    report, drop = maintain(counted, named=named, live=named)
    assert (report.hours_waiting, report.hours_removed, drop) == (1, 0, named)
    assert len(landed(counted)) == 2


def test_dry_run_counts_the_same_and_removes_nothing(counted: Lake) -> None:
    """Files and bytes; it writes no receipt either."""
    dry_run, _ = maintain(counted, dry_run=True)
    assert len(landed(counted)) == 2
    assert counted.parquet_files(counted.layout.removed_hour(HOUR)) == []
    actual, _ = maintain(counted)
    assert dry_run.removed == actual.removed
    assert dry_run.removed.bytes > 0


def test_killed_removal_is_continued_and_loses_nothing(counted: Lake) -> None:
    """Killed between two files: the hour is stale, is built again, and is removed then.

    Shows G17 and G18.
    """
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
    ("damage", "reason"),
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
def test_hour_whose_tables_do_not_match_its_files_is_not_removed(
    counted: Lake, damage: object, reason: str
) -> None:
    """Whichever of its tables it is, and though they carry the right fingerprint. Shows G17."""
    assert callable(damage)
    damage(counted)
    before = landed(counted)
    report, drop = maintain(counted, live=[before[0].path])
    assert reason in report.hours_kept[HOUR]
    assert (landed(counted), drop) == (before, [])


def test_hour_with_a_young_file_is_not_removed(counted: Lake) -> None:
    """The sink may be about to commit it."""
    report, drop = maintain(counted, settled=landed(counted)[0].modified)
    assert report.hours_kept[HOUR].startswith("it got files lately")
    assert drop == []


def test_hour_with_a_file_that_the_bucket_lacks_is_not_removed(counted: Lake) -> None:
    """The table names it, so something is wrong, and a person should look at it."""
    lost = counted.layout.landed_hour(HOUR) + "lost.parquet"
    report, drop = maintain(counted, live=[lost])
    assert "not in the bucket" in report.hours_kept[HOUR]
    assert drop == []


def test_hours_before_first_day_are_not_removed(counted: Lake) -> None:
    """They have no tables that could replace their files."""
    report, _ = maintain(counted, first_day=DAY + timedelta(days=1))
    assert "FIRST_DAY" in report.hours_kept[HOUR]


def alter(lake: Lake, path: str, limit: str = "", replaced: str = "") -> None:
    """Falsify a table, which keeps its fingerprint."""
    columns = f"* REPLACE ({replaced})" if replaced else "*"
    write(
        lake, path, f"SELECT {columns} FROM read_parquet($path, hive_partitioning := false)", limit
    )


def drop_column(lake: Lake) -> None:
    """Write `toots` as an older version of its query did."""
    path = lake.layout.toots(HOUR)
    write(lake, path, "SELECT * EXCLUDE (media) FROM read_parquet($path)", "")


def write(lake: Lake, path: str, select: str, limit: str) -> None:
    """Replace a table's file with the result of a query on it."""
    lake.connection.execute(
        f"COPY ({select} {limit}) TO $path"
        " (FORMAT parquet, KV_METADATA {built_from: $built_from})",
        {"path": path, "built_from": lake.built_from([path])[path]},
    )
