"""Files that nothing names, on the real stack: removed, unless they are young or hold something."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from mastodon_pipeline.lake.bucket import s3_client
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.landing.iceberg import open_table
from mastodon_pipeline.maintenance.maintaining import Ages
from mastodon_pipeline.usage.refreshing.freshness import Cursor, scan
from mastodon_pipeline_tests.maintenance.conftest import NOW, OLD, YOUNG, KeptLake

pytestmark = pytest.mark.integration


def put(sunk: KeptLake, path: str, content: bytes) -> str:
    """Plants an object."""
    with closing(s3_client(sunk.settings)) as s3:
        s3.put_object(Bucket=sunk.settings.s3_bucket, Key=path.split("/", 3)[3], Body=content)
    return path


def get(sunk: KeptLake, path: str) -> bytes:
    """What an object holds."""
    with closing(s3_client(sunk.settings)) as s3:
        found = s3.get_object(Bucket=sunk.settings.s3_bucket, Key=path.split("/", 3)[3])
        return found["Body"].read()


def remove(sunk: KeptLake, path: str) -> None:
    """Takes an object away."""
    with closing(s3_client(sunk.settings)) as s3:
        s3.delete_object(Bucket=sunk.settings.s3_bucket, Key=path.split("/", 3)[3])


def landed(sunk: KeptLake, hour: datetime) -> list[str]:
    """The paths of an hour's landed files."""
    with open_lake(sunk.settings) as lake:
        return [file.path for file in lake.parquet_files(lake.layout.landed_hour(hour))]


def test_a_copy_that_no_snapshot_names_goes_and_its_hour_is_looked_at(sunk: KeptLake) -> None:
    """As a sink leaves it that was killed between writing and committing, and wrote again.

    The hour's tables were made from both, so they are behind: whoever watches is told so.
    """
    first = landed(sunk, YOUNG)[0]
    orphan = put(sunk, first.replace(".parquet", "-again.parquet"), get(sunk, first))
    sunk.build(YOUNG)
    sunk.let_it_age()
    sunk.build(YOUNG)
    young = put(sunk, first.replace(".parquet", "-young.parquet"), get(sunk, first))
    sunk.build(YOUNG)
    with open_lake(sunk.settings) as lake:
        cursor = Cursor()
        for _ in range(2):
            found = scan(lake, cursor, datetime.now(UTC), OLD.date())
            cursor = found.cursor
        assert YOUNG not in found.stale_hours
        report = sunk.maintain()
        assert (report.data_orphans.files, report.faults) == (1, [])
        assert orphan not in sunk.objects()
        assert young in sunk.objects()
        assert YOUNG in scan(lake, cursor, datetime.now(UTC), OLD.date()).stale_hours
    remove(sunk, young)


def test_a_file_with_records_of_its_own_stays_and_is_told_of(sunk: KeptLake) -> None:
    """The table lacks them, so something else is wrong; removing it would make it worse."""
    hour = YOUNG + timedelta(hours=2)
    sunk.land(1, hour)
    (path,) = landed(sunk, hour)
    strange = put(
        sunk, path.replace(f"{hour:%Y-%m-%d-%H}", f"{YOUNG:%Y-%m-%d-%H}"), get(sunk, path)
    )
    sunk.let_it_age()
    report = sunk.maintain()
    assert strange in sunk.objects()
    (fault,) = report.faults
    assert "1 records of" in fault
    assert strange in fault
    remove(sunk, strange)
    sunk.build(hour)


def test_metadata_that_nothing_names_goes(sunk: KeptLake) -> None:
    """Manifests of expired snapshots too; what the table needs is still there to read it."""
    table = open_table(sunk.settings)
    assert table is not None
    orphan = put(sunk, f"{table.location()}/metadata/forgotten-m0.avro", b"nothing")
    sunk.let_it_age()
    young = put(sunk, f"{table.location()}/metadata/just-written-m0.avro", b"nothing yet")
    before = sunk.in_iceberg()
    report = sunk.maintain()
    assert report.metadata_orphans.files >= 1
    assert orphan not in sunk.objects()
    assert young in sunk.objects()
    assert sunk.in_iceberg() == before
    sunk.land(1, YOUNG)
    assert sunk.in_iceberg() == before + 1


def test_by_default_nothing_of_the_last_hours_goes(sunk: KeptLake) -> None:
    """Six hours for snapshots, a day for files: a reader or a writer may still need them."""
    before = sunk.objects()
    report = sunk.maintain(ages=Ages())
    assert (report.snapshots_expired, report.metadata_orphans.files) == (0, 0)
    assert (report.data_orphans.files, report.removed.files) == (0, 0)
    assert sunk.objects() == before


def test_nothing_goes_while_the_sink_stands_still(sunk: KeptLake) -> None:
    """It may yet commit what it wrote before it stopped, however long ago that is.

    Seen from a year ahead, every file is old, but none is older than the sink's last commit by a
    day.
    """
    orphan = put(sunk, landed(sunk, YOUNG)[0].replace(".parquet", "-last.parquet"), b"unreadable")
    report = sunk.maintain(now=NOW + timedelta(days=365), ages=Ages())
    assert (report.removed.files, report.data_orphans.files) == (0, 0)
    assert orphan in sunk.objects()
    assert set(report.hours_kept.values()) == {
        "it got files lately, or the sink has not committed since"
    }
    remove(sunk, orphan)
