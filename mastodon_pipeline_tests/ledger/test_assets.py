"""What the check remembers in Dagster's event log, and what it reports. Shows G26."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from mastodon_pipeline.ledger.assets import earlier_check
from mastodon_pipeline.ledger.checking import EarlierCheck

SINCE = datetime(2026, 11, 23, 19, tzinfo=UTC)


def report(instance: dg.DagsterInstance, **metadata: str | int) -> None:
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey("toots"),
            check_name="every_toot_is_accounted_for",
            passed=True,
            metadata=metadata,
        )
    )


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


def test_first_check_has_none_before_it(instance: dg.DagsterInstance) -> None:
    assert earlier_check(instance) is None


def test_check_knows_what_the_one_before_had_balanced(instance: dg.DagsterInstance) -> None:
    """What that one could not find any more is not forgotten again."""
    report(instance, acknowledged=7, forgotten=0, compared_from="2026-11-22T19:00:00+00:00")
    report(instance, acknowledged=30, forgotten=12, compared_from=SINCE.isoformat())
    assert earlier_check(instance) == EarlierCheck(42, int(SINCE.timestamp() * 1000))


def test_check_of_an_earlier_version_tells_nothing(instance: dg.DagsterInstance) -> None:
    report(instance, acknowledged=7)
    assert earlier_check(instance) is None
