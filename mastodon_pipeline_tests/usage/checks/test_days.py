"""The checks of the daily tables fail on every fault planted here."""

import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.checks.check import Finding
from mastodon_pipeline.usage.checks.days import (
    TOOTS_SUM_TO_THE_DAY,
    day_equals_its_hours,
    mentions_are_possible,
    toots_sum_to_the_day,
)
from mastodon_pipeline.usage.checks.hours import hours_equal_recount, no_duplicate_toots
from mastodon_pipeline.usage.tables.daily import DAILY_TABLES
from mastodon_pipeline.usage.tables.hourly import build_toots
from mastodon_pipeline_tests.support.building import plant
from mastodon_pipeline_tests.support.local_lake import DAY, HOUR, land, record

pytestmark = pytest.mark.thorough

SUMMED = [table.name for table in DAILY_TABLES if TOOTS_SUM_TO_THE_DAY in table.checks]


def test_all_checks_pass_on_tables_without_faults(built: Lake) -> None:
    """Each compares the partition, and skips none."""
    findings = [
        no_duplicate_toots(built, [HOUR]),
        hours_equal_recount(built, [HOUR]),
        day_equals_its_hours(built, "daily_usage", [DAY]),
        *(toots_sum_to_the_day(built, table, [DAY]) for table in SUMMED),
        mentions_are_possible(built, "term_mentions", [DAY]),
    ]
    assert findings == [Finding(compared=1, faults=())] * len(findings)


def test_day_that_is_not_the_sum_of_its_hours_is_a_fault(built: Lake) -> None:
    """The fault names both figures. Shows G13."""
    plant(built, built.layout.daily("daily_usage", DAY), "UPDATE planted SET toots = 7")
    assert "7 toots on 2 servers, but its hours have 3 on 2" in (
        day_equals_its_hours(built, "daily_usage", [DAY]).summary
    )


def test_check_skips_a_day_behind_its_hours(built: Lake) -> None:
    """It is due to be built again."""
    land(built, record(uri="d", status_id="4"), name="later")
    build_toots(built, HOUR)
    assert day_equals_its_hours(built, "daily_usage", [DAY]) == Finding(0, (), skipped=1)


@pytest.mark.parametrize("table", SUMMED)
@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ("UPDATE planted SET toots = toots + 1 WHERE toots > 0", "but the day has 3"),
        ("DELETE FROM planted", "0 toots in"),
        ("UPDATE planted SET day = day + INTERVAL 1 DAY", "but the day has 3"),
    ],
)
def test_table_that_does_not_add_up_to_its_day_is_a_fault(
    built: Lake, table: str, changed: str, fault: str
) -> None:
    """Too many, too few, or another day's. Shows G13."""
    plant(built, built.layout.daily(table, DAY), changed)
    finding = toots_sum_to_the_day(built, table, [DAY])
    assert not finding.passed
    assert fault in finding.summary


@pytest.mark.parametrize(
    "changed",
    [
        "UPDATE planted SET toots = 4, mentions = 4 WHERE term = 'mastodon'",
        "UPDATE planted SET toots = 2, mentions = 1 WHERE term = 'mastodon'",
        "UPDATE planted SET toots = 0, mentions = 1 WHERE term = 'mastodon'",
        "UPDATE planted SET day = day + INTERVAL 1 DAY",
    ],
)
def test_impossible_mentions_are_a_fault(built: Lake, changed: str) -> None:
    """In more toots than the day has, or in more, or fewer, than there are mentions."""
    plant(built, built.layout.daily("term_mentions", DAY), changed)
    finding = mentions_are_possible(built, "term_mentions", [DAY])
    assert not finding.passed
    assert "mastodon: " in finding.summary


def test_checks_skip_a_daily_table_behind_its_toots(built: Lake) -> None:
    """It is due to be built again."""
    land(built, record(uri="d", status_id="4"), name="later")
    build_toots(built, HOUR)
    skipped = Finding(0, (), skipped=1)
    assert toots_sum_to_the_day(built, "app_usage", [DAY]) == skipped
    assert mentions_are_possible(built, "term_mentions", [DAY]) == skipped
