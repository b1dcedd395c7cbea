"""Landed hours past their retention, on the real stack: removed, kept in `toots`, and reopened.

The tests of this module follow each other on one lake, as the months would.
"""

import os
import signal
from contextlib import closing
from datetime import timedelta

import pytest

from infra.native_stack import Stack
from mastodon_pipeline.landing.bucket import s3_client
from mastodon_pipeline.landing.completeness import landing_completeness
from mastodon_pipeline.landing.iceberg import open_table
from mastodon_pipeline.landing.lake import connect_lake
from mastodon_pipeline.usage.checks import hours_equal_recount
from mastodon_pipeline.usage.lake import open_lake
from mastodon_pipeline_tests.landing.producing import eventually
from mastodon_pipeline_tests.maintenance.conftest import OLD, YOUNG, KeptLake

pytestmark = pytest.mark.integration
HOUR = timedelta(hours=1)


def complete(kept: KeptLake) -> bool:
    """Whether Kafka's records are all accounted for, as the check in Dagster sees it."""
    with connect_lake(kept.settings) as lake:
        found = landing_completeness(kept.settings, lake)
    assert found.checked >= kept.produced
    return found.complete


def test_a_dry_run_says_what_it_would_do_and_changes_nothing(kept: KeptLake) -> None:
    """Not a byte in the bucket, the lock included, nor the catalog."""
    before, table = kept.objects(), open_table(kept.settings)
    report = kept.maintain(dry_run=True)
    assert (report.hours_verified, report.hours_kept) == (2, {})
    assert report.dropped.files >= 2
    assert report.dropped.bytes > 0
    assert report.snapshots_expired >= 1
    after = open_table(kept.settings)
    assert table is not None
    assert after is not None
    assert kept.objects() == before
    assert after.metadata_location == table.metadata_location


def test_an_hour_leaves_the_table_first(kept: KeptLake) -> None:
    """Its files stay in the bucket as long as a snapshot names them."""
    files = {path for path in kept.objects() if "/topics/" in path}
    rows = kept.in_iceberg()
    assert rows == kept.produced
    report = kept.maintain()
    assert (report.hours_verified, report.hours_waiting, report.hours_removed) == (2, 2, 0)
    assert kept.in_iceberg() == rows - 200
    assert {path for path in kept.objects() if "/topics/" in path} == files
    assert kept.in_toots() == kept.in_landed_files() == kept.produced
    assert complete(kept)


def test_its_files_go_when_no_snapshot_names_them_any_more(kept: KeptLake) -> None:
    """The sink goes on committing, its table and its folders agree, and no toot is gone."""
    kept.let_it_age()
    kept.build(YOUNG)
    report = kept.maintain()
    assert (report.hours_removed, report.hours_waiting) == (2, 0)
    assert report.removed.files >= 2
    assert kept.in_landed_files() == kept.in_iceberg() == kept.produced - 200
    assert kept.in_toots() == kept.produced
    assert complete(kept), "what was removed is not missing"
    with open_lake(kept.settings) as lake:
        finding = hours_equal_recount(lake, [OLD, OLD + HOUR])
    assert (finding.compared, finding.faults) == (2, ())
    assert kept.maintain().removed.files == 0, "nothing is left to do"


def test_a_late_toot_reopens_a_removed_hour(kept: KeptLake) -> None:
    """It joins the others, is verified with them, and its file goes in its turn."""
    kept.land(1, OLD)
    kept.build(OLD)
    assert kept.in_toots() == kept.produced
    for _ in range(2):
        kept.let_it_age()
        kept.build(YOUNG)
        report = kept.maintain()
    assert report.hours_removed == 1
    assert kept.in_landed_files() == kept.in_iceberg() == kept.produced - 201
    assert kept.in_toots() == kept.produced
    kept.build(OLD, hours=2)
    assert kept.in_toots() == kept.produced
    assert complete(kept)


def test_an_hour_whose_tables_are_behind_keeps_its_files(kept: KeptLake) -> None:
    """A toot landed and was not counted yet."""
    kept.land(1, OLD)
    kept.let_it_age()
    report = kept.maintain()
    assert report.hours_kept == {OLD: "its tables were made from other files"}
    kept.build(OLD)
    assert kept.maintain().hours_kept == {}


def test_an_hour_whose_toots_lack_one_keeps_its_files(kept: KeptLake) -> None:
    """The file says that it was made from these files, and it was tampered with."""
    hour = OLD + 5 * HOUR
    kept.land(10, hour)
    kept.build(hour)
    kept.let_it_age()
    with open_lake(kept.settings) as lake:
        path = lake.layout.toots(hour)
        lake.connection.execute(
            "COPY (FROM read_parquet($path, hive_partitioning := false) LIMIT 9) TO $path"
            " (FORMAT parquet, KV_METADATA {built_from: $built_from})",
            {"path": path, "built_from": lake.built_from([path])[path]},
        )
    report = kept.maintain()
    assert report.hours_kept == {hour: "its toots differ from a rebuild (1 rows)"}
    kept.build(hour)
    assert kept.maintain().hours_kept == {}


def test_a_file_that_vanished_from_the_bucket_stops_the_removal_of_its_hour(
    kept: KeptLake,
) -> None:
    """What the table names and the bucket lacks is for a person to look at."""
    hour = OLD + 6 * HOUR
    kept.land(10, hour)
    kept.let_it_age()
    with open_lake(kept.settings) as lake:
        (lost, *_) = lake.parquet_files(lake.layout.landed_hour(hour))
    bucket, key = kept.settings.s3_bucket, lost.path.split("/", 3)[3]
    with closing(s3_client(kept.settings)) as s3:
        content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        s3.delete_object(Bucket=bucket, Key=key)
        kept.land(1, hour)
        kept.build(hour)
        kept.let_it_age()
        report = kept.maintain()
        s3.put_object(Bucket=bucket, Key=key, Body=content)
    assert report.hours_kept == {
        hour: "the Iceberg table names files of it that are not in the bucket"
    }
    kept.build(hour)


def test_a_killed_connect_loses_and_doubles_nothing_after_a_maintenance(
    kept: KeptLake, stack: Stack
) -> None:
    """The snapshot that holds the sink's place is still there when it looks for it."""
    kept.let_it_age()
    kept.maintain()
    outside = kept.produced - kept.in_iceberg()

    def connect() -> int:
        return next(one.pid for one in stack.status() if one.name == "connect")

    before = connect()
    os.kill(before, signal.SIGKILL)
    kept.produce(100, YOUNG)
    eventually(lambda: connect() not in (0, before), "Connect is started again", 120)
    eventually(
        lambda: kept.in_iceberg() >= kept.produced - outside, "the sink has caught up", within_s=120
    )
    kept.land(1, YOUNG)
    assert kept.in_iceberg() == kept.produced - outside
    assert complete(kept)
    kept.build(YOUNG)
    assert kept.in_toots() == kept.produced


def test_the_sink_may_commit_all_the_while(kept: KeptLake) -> None:
    """Both commit to one table, and neither loses what the other did."""
    hours = [OLD + (10 + number) * HOUR for number in range(4)]
    outside = kept.produced - kept.in_iceberg()
    for hour in hours:
        kept.land(5, hour)
        kept.build(hour)
    kept.let_it_age()
    for _ in range(4):
        kept.produce(20, YOUNG)
        kept.maintain()
    kept.land(1, YOUNG)
    kept.build(YOUNG)
    assert kept.in_toots() == kept.produced
    assert kept.in_iceberg() == kept.produced - outside - 5 * len(hours)
    assert complete(kept)
