"""A memory of what was built within ticks, for each test."""

import pytest

from mastodon_pipeline.usage.refreshing import sensor
from mastodon_pipeline.usage.refreshing.in_tick import HourBuilder
from mastodon_pipeline_tests.support.sensor_ticks import TICKS


@pytest.fixture(autouse=True)
def builder(monkeypatch: pytest.MonkeyPatch) -> HourBuilder:
    """A separate memory of builds within ticks, to which each tick is ten minutes after another."""
    separate = HourBuilder(lambda: TICKS[-1] * 600.0)
    monkeypatch.setattr(sensor, "HOURS", separate)
    return separate
