"""Files that no snapshot names, on the real stack: removed, unless young or with unique records."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from mastodon_pipeline.lake.bucket import s3_client
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.landing.iceberg import open_table
from mastodon_pipeline.maintenance.maintaining import Ages
from mastodon_pipeline.usage.refreshing.freshness import Cursor, scan
from mastodon_pipeline_tests.support.sink_lake import NOW, OLD, YOUNG, SinkLake

pytestmark = [pytest.mark.integration, pytest.mark.own_stack]


def put(sink_lake: SinkLake, path: str, content: bytes) -> str:
    """Put an object into the bucket."""
    with closing(s3_client(sink_lake.settings)) as s3:
        s3.put_object(Bucket=sink_lake.settings.s3_bucket, Key=path.split("/", 3)[3], Body=content)
    return path


def get(sink_lake: SinkLake, path: str) -> bytes:
    """Return the content of an object."""
    with closing(s3_client(sink_lake.settings)) as s3:
        answer = s3.get_object(Bucket=sink_lake.settings.s3_bucket, Key=path.split("/", 3)[3])
        return answer["Body"].read()


def remove(sink_lake: SinkLake, path: str) -> None:
    """Delete an object."""
    with closing(s3_client(sink_lake.settings)) as s3:
        s3.delete_object(Bucket=sink_lake.settings.s3_bucket, Key=path.split("/", 3)[3])


def landed(sink_lake: SinkLake, hour: datetime) -> list[str]:
    """Return the paths of the files with an hour's records."""
    with open_lake(sink_lake.settings) as lake:
        return [file.path for file in lake.landed.of_hour(hour)]


def test_copy_that_no_snapshot_names_is_removed_and_its_hour_is_stale(sink_lake: SinkLake) -> None:
    """A sink leaves one if it is killed between writing and committing, and writes again.

    The hour's tables were made from both files, so they are stale, and the sensor sees it.
    """
    first = landed(sink_lake, YOUNG)[0]
    orphan = put(sink_lake, first.replace(".parquet", "-again.parquet"), get(sink_lake, first))
    sink_lake.build(YOUNG)
    sink_lake.age()
    sink_lake.build(YOUNG)
    young = put(sink_lake, first.replace(".parquet", "-young.parquet"), get(sink_lake, first))
    sink_lake.build(YOUNG)
    with open_lake(sink_lake.settings) as lake:
        cursor = Cursor()
        for _ in range(2):
            freshness = scan(lake, cursor, datetime.now(UTC), OLD.date())
            cursor = freshness.cursor
        assert YOUNG not in freshness.stale_hours
        report = sink_lake.maintain()
        assert (report.data_orphans.files, report.faults) == (1, [])
        assert orphan not in sink_lake.objects()
        assert young in sink_lake.objects()
        assert YOUNG in scan(lake, cursor, datetime.now(UTC), OLD.date()).stale_hours
    remove(sink_lake, young)


def test_orphan_with_unique_records_stays_and_is_reported(sink_lake: SinkLake) -> None:
    """The table lacks its records, so something else is wrong; removing it would lose them.

    Shows G17.
    """
    hour = YOUNG + timedelta(days=1)
    sink_lake.land(1, hour)
    (path,) = landed(sink_lake, hour)
    orphan = put(
        sink_lake, path.replace(f"{hour:%Y-%m-%d}", f"{YOUNG:%Y-%m-%d}"), get(sink_lake, path)
    )
    sink_lake.age()
    report = sink_lake.maintain()
    assert orphan in sink_lake.objects()
    (fault,) = report.faults
    assert "1 records of" in fault
    assert orphan in fault
    remove(sink_lake, orphan)
    sink_lake.build(hour)


def test_metadata_that_nothing_names_is_removed(sink_lake: SinkLake) -> None:
    """Manifests of expired snapshots too; the table stays readable."""
    table = open_table(sink_lake.settings)
    assert table is not None
    orphan = put(sink_lake, f"{table.location()}/metadata/forgotten-m0.avro", b"nothing")
    sink_lake.age()
    young = put(sink_lake, f"{table.location()}/metadata/just-written-m0.avro", b"nothing yet")
    before = sink_lake.iceberg_rows()
    report = sink_lake.maintain()
    assert report.metadata_orphans.files >= 1
    assert orphan not in sink_lake.objects()
    assert young in sink_lake.objects()
    assert sink_lake.iceberg_rows() == before
    sink_lake.land(1, YOUNG)
    assert sink_lake.iceberg_rows() == before + 1


def test_default_ages_protect_young_snapshots_and_files(sink_lake: SinkLake) -> None:
    """For six hours and a day: a reader or a writer may still need them."""
    before = sink_lake.objects()
    report = sink_lake.maintain(ages=Ages())
    assert (report.snapshots_expired, report.metadata_orphans.files) == (0, 0)
    assert (report.data_orphans.files, report.removed.files) == (0, 0)
    assert sink_lake.objects() == before


def test_nothing_is_removed_while_the_sink_is_stalled(sink_lake: SinkLake) -> None:
    """It may yet commit what it wrote before it stalled, however long ago.

    Maintained a year ahead: every file is old, but none is a day older than the sink's last commit.
    Shows G17.
    """
    orphan = put(
        sink_lake, landed(sink_lake, YOUNG)[0].replace(".parquet", "-last.parquet"), b"unreadable"
    )
    report = sink_lake.maintain(now=NOW + timedelta(days=365), ages=Ages())
    assert (report.removed.files, report.data_orphans.files) == (0, 0)
    assert orphan in sink_lake.objects()
    assert set(report.folders_left.values()) == {
        "it got files lately, or the sink has not committed since"
    }
    remove(sink_lake, orphan)
