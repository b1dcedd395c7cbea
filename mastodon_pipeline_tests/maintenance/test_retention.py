"""Landed hours past their retention, on the real stack: removed, kept in `toots`, and reopened.

The tests of this module follow each other on one lake, as the months would.
"""

import os
import signal
from datetime import timedelta

import pytest

from infra.native_stack import Stack
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.landing.completeness import landing_completeness
from mastodon_pipeline.landing.iceberg import open_table
from mastodon_pipeline.usage.checks.hours import hours_equal_recount
from mastodon_pipeline_tests.maintenance.conftest import OLD, YOUNG, KeptLake
from mastodon_pipeline_tests.support.producing import eventually

pytestmark = pytest.mark.integration
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def kept(sunk: KeptLake) -> KeptLake:
    """Two old hours more, landed and counted."""
    sunk.land(200, OLD, hours=2)
    sunk.build(OLD, hours=2)
    sunk.let_it_age()
    sunk.build(YOUNG)
    return sunk


def complete(kept: KeptLake) -> bool:
    """Whether Kafka's records are all accounted for, as the check in Dagster sees it."""
    with open_lake(kept.settings) as lake:
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
    outside = kept.produced - kept.in_iceberg()
    kept.land(20, OLD + 10 * HOUR, hours=4)
    kept.build(OLD + 10 * HOUR, hours=4)
    kept.let_it_age()
    for _ in range(4):
        kept.produce(20, YOUNG)
        kept.maintain()
    kept.land(1, YOUNG)
    kept.build(YOUNG)
    assert kept.in_toots() == kept.produced
    assert kept.in_iceberg() == kept.produced - outside - 20
    assert complete(kept)
