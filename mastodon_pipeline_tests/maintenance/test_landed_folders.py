"""Which landed folders are removed: those whose hours' tables were built from all their files."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.maintenance.landed_folders import (
    landed_folders,
    maintain_landed_folders,
    remove_data_orphans,
)
from mastodon_pipeline.maintenance.report import Report
from mastodon_pipeline.usage.tables.hourly import build_toots, build_toots_per_server
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.local_lake import (
    DAY,
    HOUR,
    land,
    record,
    rows,
    write_parquet,
)

pytestmark = pytest.mark.thorough

LATER = HOUR + timedelta(days=3650)
FOLDER = "created_at_hour=2026-11-24-15"


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
    only: str = "",
    interrupt_after: int = 1000,
) -> tuple[Report, list[str]]:
    """Maintain all folders; return the report, and the files to drop from the table."""
    report = Report(dry_run)
    lake.landed.refresh(whole=True)
    drop = maintain_landed_folders(
        *(lake, DirectoryRemover(interrupt_after), report),
        folders={
            folder: files
            for folder, files in landed_folders(lake).items()
            if f"{folder}/".startswith(only) and f"{folder}/" != lake.layout.uncounted()
        },
        named=set(named),
        live=set(live),
        settled=settled,
        first_day=first_day,
    )
    return report, drop


@pytest.fixture
def counted(lake: Lake) -> Lake:
    """A lake with an hour of two files, landed and counted."""
    land(lake, record(uri="a", kafka_offset=3), name="a")
    land(lake, record(uri="b", kafka_offset=4), record(uri="b", kafka_offset=4), name="b")
    build(lake)
    Path(lake.layout.removed_hour(HOUR)).mkdir(parents=True)  # S3 needs none
    return lake


def test_verified_hour_is_removed_and_leaves_a_receipt(counted: Lake) -> None:
    """With each offset once, for the completeness check against Kafka."""
    report, drop = maintain(counted)
    assert (report.folders_removed, report.removed.files, drop) == (1, 2, [])
    assert landed(counted) == []
    (receipt,) = counted.parquet_files(counted.layout.removed_hour(HOUR))
    assert rows(counted, receipt.path) == [
        {"kafka_partition": 0, "kafka_offset": 3, "kafka_timestamp": HOUR},
        {"kafka_partition": 0, "kafka_offset": 4, "kafka_timestamp": HOUR},
    ]


def test_hour_with_a_file_that_a_snapshot_names_waits(counted: Lake) -> None:
    """All of it, though only one of its files is named; that one is dropped from the table."""
    named = [landed(counted)[0].path]
    report, drop = maintain(counted, named=named, live=named)
    assert (report.folders_waiting, report.folders_removed, drop) == (1, 0, named)
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
    assert maintain(counted)[0].folders_left == {
        FOLDER: "2026-11-24 15:00 UTC: its tables were made from other files"
    }
    build(counted)
    assert rows(counted, counted.layout.toots(HOUR)) == before
    assert maintain(counted)[0].folders_removed == 1
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
    assert reason in report.folders_left[FOLDER]
    assert (landed(counted), drop) == (before, [])


def test_hour_with_a_young_file_is_not_removed(counted: Lake) -> None:
    """The sink may be about to commit it."""
    report, drop = maintain(counted, settled=landed(counted)[0].modified)
    assert report.folders_left[FOLDER].startswith("it got files lately")
    assert drop == []


def test_hour_with_a_file_that_the_bucket_lacks_is_not_removed(counted: Lake) -> None:
    """The table names it, so something is wrong, and a person should look at it."""
    lost = counted.layout.landed_hour(HOUR) + "lost.parquet"
    report, drop = maintain(counted, live=[lost])
    assert "not in the bucket" in report.folders_left[FOLDER]
    assert drop == []


def test_records_that_no_table_counts_stay_when_their_folder_goes(lake: Lake) -> None:
    """Those before FIRST_DAY, of the year 1, of the future: in a landed file as before."""
    old, ancient = HOUR - timedelta(days=400), datetime(1, 1, 1, tzinfo=UTC)
    future = LATER + timedelta(days=1)
    uncounted = [
        record(uri=f"{moment}", created_at=moment, kafka_offset=number)
        for number, moment in enumerate((old, ancient, future), start=1)
    ]
    path = f"{lake.layout.landed_day(DAY)}a.parquet"
    write_parquet(lake.connection, path, [record(), *uncounted])
    for prefix in (lake.layout.removed_hour(HOUR), lake.layout.uncounted()):
        Path(prefix).mkdir(parents=True)  # S3 needs none
    build(lake)
    before = rows(lake, lake.layout.toots(HOUR))
    report, _ = maintain(lake)
    assert (report.folders_removed, report.folders_left) == (1, {})
    (left,) = lake.parquet_files(lake.layout.landed())
    assert left.path.startswith(lake.layout.uncounted())
    assert [row["kafka_offset"] for row in rows(lake, left.path)] == [1, 2, 3]
    build(lake)
    assert rows(lake, lake.layout.toots(HOUR)) == before
    assert lake.landed.of_hour(old)[0].path == left.path


def test_hour_in_two_folders_survives_the_removal_of_one(lake: Lake) -> None:
    """Toots of the last minutes of a day land on the next; the hour is merged and verified again.

    Shows G17.
    """
    folders = [lake.layout.landed_day(DAY + timedelta(days=n)) for n in (0, 1)]
    write_parquet(lake.connection, f"{folders[0]}a.parquet", [record(uri="a"), record(uri="b")])
    late = [
        record(uri="c", kafka_offset=7),
        record(uri="a", base_url="https://two.example", kafka_offset=8),
    ]
    write_parquet(lake.connection, f"{folders[1]}a.parquet", late)
    Path(lake.layout.removed_hour(HOUR)).mkdir(parents=True)
    build(lake)
    before = rows(lake, lake.layout.toots(HOUR))
    report, _ = maintain(lake, only=folders[0])
    assert report.folders_removed == 1
    assert [file.path for file in lake.landed.of_hour(HOUR)] == [f"{folders[1]}a.parquet"]
    assert "made from other files" in str(maintain(lake)[0].folders_left)
    build(lake)
    assert rows(lake, lake.layout.toots(HOUR)) == before
    assert maintain(lake)[0].folders_removed == 1
    build(lake)
    assert rows(lake, lake.layout.toots(HOUR)) == before


def test_hour_that_is_not_verified_holds_all_folders_with_its_records(lake: Lake) -> None:
    for number in range(2):
        path = f"{lake.layout.landed_day(DAY + timedelta(days=number))}a.parquet"
        other = HOUR + timedelta(hours=1 + number)
        moments = (HOUR, other)
        written = [record(uri=f"{moment}", created_at=moment) for moment in moments]
        write_parquet(lake.connection, path, written)
        build_hours(lake, other)
    report, drop = maintain(lake)
    assert set(report.folders_left.values()) == {"2026-11-24 15:00 UTC: its tables are not built"}
    assert (report.folders_verified, drop) == (0, [])


def test_orphan_with_the_offsets_of_another_kafka_stays(lake: Lake) -> None:
    """A copy has the same time, too; a record of a Kafka that started over has not. Shows G17."""
    folder = lake.layout.landed_day(DAY)
    paths = {name: f"{folder}{name}.parquet" for name in ("live", "copy", "earlier")}
    write_parquet(lake.connection, paths["live"], [record(uri="a"), record(uri="b")])
    write_parquet(lake.connection, paths["copy"], [record(uri="a")])
    earlier = record(uri="c", kafka_timestamp=HOUR - timedelta(minutes=1))
    write_parquet(lake.connection, paths["earlier"], [earlier])
    lake.landed.refresh(whole=True)
    folders = landed_folders(lake)
    for orphan, faults in (("copy", 0), ("earlier", 1)):
        report = Report(dry_run=False)
        named = {path for name, path in paths.items() if name != orphan}
        remove_data_orphans(
            *(lake, DirectoryRemover(), report, folders, named, {paths["live"]}), settled=LATER
        )
        assert (report.data_orphans.files, len(report.faults)) == (1 - faults, faults)
    assert {file.path for file in lake.parquet_files(folder)} == {paths["live"], paths["earlier"]}


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
