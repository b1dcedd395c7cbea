"""The checks of the hourly tables fail on every fault planted here."""

from datetime import timedelta

import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.checks.check import Finding
from mastodon_pipeline.usage.checks.hours import hours_equal_recount, no_duplicate_toots
from mastodon_pipeline.usage.tables.hourly import build_toots, build_toots_per_server
from mastodon_pipeline_tests.support.building import plant
from mastodon_pipeline_tests.support.local_lake import HOUR, land, record

NEXT = HOUR + timedelta(hours=1)


def test_toot_twice_in_its_hour_is_a_fault(built: Lake) -> None:
    """The fault names its uri."""
    plant(built, built.layout.toots(HOUR), "INSERT INTO planted FROM planted WHERE uri = 'c'")
    finding = no_duplicate_toots(built, [HOUR])
    assert not finding.passed
    assert "c: 2 copies" in finding.summary


def test_toot_in_two_neighbouring_hours_is_a_fault(built: Lake) -> None:
    """Its clock was wrong around the full hour. Shows G12."""
    land(built, record(uri="c", status_id="3", created_at=NEXT))
    build_toots(built, NEXT)
    assert not no_duplicate_toots(built, [HOUR]).passed
    assert not no_duplicate_toots(built, [NEXT]).passed


@pytest.mark.parametrize(
    "changed",
    [
        "UPDATE planted SET toots = toots + 1 WHERE server = 'one.example'",
        "UPDATE planted SET users = users + 1 WHERE server = 'one.example'",
        "UPDATE planted SET bots = 0",
        "UPDATE planted SET replies = 0",
        "UPDATE planted SET languages = 9 WHERE server = 'two.example'",
        "UPDATE planted SET seen_by = 1",
        "UPDATE planted SET hour = hour + INTERVAL 1 HOUR",
        "DELETE FROM planted WHERE server = 'two.example'",
        "INSERT INTO planted SELECT hour, 'three.example', 1, 1, 0, 0, 1, 1 FROM planted LIMIT 1",
    ],
)
def test_wrong_count_of_an_hour_is_a_fault(built: Lake, changed: str) -> None:
    """Any of them, and a server too many or too few. Shows G13."""
    plant(built, built.layout.toots_per_server(HOUR), changed)
    finding = hours_equal_recount(built, [HOUR])
    assert not finding.passed
    assert "2026-11-24 15:00" in finding.summary


def test_toot_missing_in_the_toots_table_is_a_fault(built: Lake) -> None:
    """The recount does not read `toots`. Shows G13."""
    plant(built, built.layout.toots(HOUR), "DELETE FROM planted WHERE uri = 'c'")
    build_toots_per_server(built, HOUR)
    assert "toots 1, recounted 2" in hours_equal_recount(built, [HOUR]).summary


def test_recount_skips_an_hour_with_newer_files(built: Lake) -> None:
    """Files land at any moment: then the table is behind, not wrong."""
    land(built, record(uri="d", status_id="4"), name="later")
    assert hours_equal_recount(built, [HOUR]) == Finding(0, (), skipped=1)
