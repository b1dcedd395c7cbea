"""Files that nothing names, on the real stack: removed, unless they are young or hold something."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from mastodon_pipeline.landing.bucket import s3_client
from mastodon_pipeline.landing.iceberg import open_table
from mastodon_pipeline.maintenance.maintaining import Ages
from mastodon_pipeline.usage.freshness import Cursor, look
from mastodon_pipeline.usage.lake import open_lake
from mastodon_pipeline_tests.landing.producing import eventually
from mastodon_pipeline_tests.maintenance.conftest import NOW, OLD, YOUNG, KeptLake

pytestmark = pytest.mark.integration


def put(kept: KeptLake, path: str, content: bytes) -> str:
    """Plants an object."""
    with closing(s3_client(kept.settings)) as s3:
        s3.put_object(Bucket=kept.settings.s3_bucket, Key=path.split("/", 3)[3], Body=content)
    return path


def get(kept: KeptLake, path: str) -> bytes:
    """What an object holds."""
    with closing(s3_client(kept.settings)) as s3:
        found = s3.get_object(Bucket=kept.settings.s3_bucket, Key=path.split("/", 3)[3])
        return found["Body"].read()


def landed(kept: KeptLake, hour: datetime) -> list[str]:
    """The paths of an hour's landed files."""
    with open_lake(kept.settings) as lake:
        return [file.path for file in lake.parquet_files(lake.layout.landed_hour(hour))]


def test_a_copy_that_no_snapshot_names_goes_and_its_hour_is_looked_at(kept: KeptLake) -> None:
    """As a sink leaves it that was killed between writing and committing, and wrote again.

    The hour's tables were made from both, so they are behind: whoever watches is told so.
    """
    first = landed(kept, YOUNG)[0]
    orphan = put(kept, first.replace(".parquet", "-again.parquet"), get(kept, first))
    kept.build(YOUNG)
    kept.let_it_age()
    kept.build(YOUNG)
    young = put(kept, first.replace(".parquet", "-young.parquet"), get(kept, first))
    kept.build(YOUNG)
    with open_lake(kept.settings) as lake:
        cursor = Cursor()
        for _ in range(2):
            found = look(lake, cursor, datetime.now(UTC), OLD.date())
            cursor = found.cursor
        assert YOUNG not in found.stale_hours
        report = kept.maintain()
        assert (report.data_orphans.files, report.faults) == (1, [])
        assert orphan not in kept.objects()
        assert young in kept.objects()
        assert YOUNG in look(lake, cursor, datetime.now(UTC), OLD.date()).stale_hours
    assert kept.in_landed_files() == kept.produced
    put(kept, young, b"")
    with closing(s3_client(kept.settings)) as s3:
        s3.delete_object(Bucket=kept.settings.s3_bucket, Key=young.split("/", 3)[3])


def test_a_file_with_records_of_its_own_stays_and_is_told_of(kept: KeptLake) -> None:
    """The table lacks them, so something else is wrong; removing it would make it worse."""
    hour = YOUNG + timedelta(hours=2)
    kept.land(1, hour)
    (path,) = landed(kept, hour)
    strange = put(
        kept, path.replace(f"{hour:%Y-%m-%d-%H}", f"{YOUNG:%Y-%m-%d-%H}"), get(kept, path)
    )
    kept.let_it_age()
    report = kept.maintain()
    assert strange in kept.objects()
    (fault,) = report.faults
    assert "1 records of" in fault
    assert strange in fault


def test_metadata_that_nothing_names_goes(kept: KeptLake) -> None:
    """Manifests of expired snapshots too; what the table needs is still there to read it."""
    table = open_table(kept.settings)
    assert table is not None
    orphan = put(kept, f"{table.location()}/metadata/forgotten-m0.avro", b"nothing")
    kept.let_it_age()
    young = put(kept, f"{table.location()}/metadata/just-written-m0.avro", b"nothing yet")
    before = kept.in_iceberg()
    report = kept.maintain()
    assert report.metadata_orphans.files >= 1
    assert orphan not in kept.objects()
    assert young in kept.objects()
    assert kept.in_iceberg() == before
    kept.land(1, YOUNG)
    assert kept.in_iceberg() == before + 1


def test_by_default_nothing_of_the_last_hours_goes(kept: KeptLake) -> None:
    """Six hours for snapshots, a day for files: a reader or a writer may still need them."""
    before = kept.objects()
    report = kept.maintain(ages=Ages())
    assert (report.snapshots_expired, report.metadata_orphans.files) == (0, 0)
    assert (report.data_orphans.files, report.removed.files) == (0, 0)
    assert kept.objects() == before


def test_nothing_goes_while_the_sink_stands_still(kept: KeptLake) -> None:
    """It may yet commit what it wrote before it stopped, however long ago that is.

    Seen from a year ahead, every file is old, but none is older than the sink's last commit by a
    day.
    """
    later = NOW + timedelta(days=365)
    orphan = put(kept, landed(kept, YOUNG)[0].replace(".parquet", "-last.parquet"), b"unreadable")
    eventually(lambda: orphan in kept.objects(), "the orphan is there")
    report = kept.maintain(now=later, ages=Ages())
    assert (report.removed.files, report.data_orphans.files) == (0, 0)
    assert orphan in kept.objects()
    assert set(report.hours_kept.values()) == {
        "it got files lately, or the sink has not committed since"
    }
