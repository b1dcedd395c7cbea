"""The strip says what Dagster's storage knows, and stays plain text."""

from pathlib import Path

import dagster as dg
import pytest

from mastodon_pipeline.dashboard import health
from mastodon_pipeline.dashboard.health import (
    MAX_LINES,
    Health,
    HealthReader,
    Listened,
    RedCheck,
    read_health,
)
from mastodon_pipeline.event_log import open_instance
from mastodon_pipeline.settings import Settings

pytestmark = pytest.mark.thorough

SETTINGS = Settings()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty Dagster."""
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return tmp_path


def listened(name: str, state: str = "streaming", **fields: object) -> Listened:
    """Return a server that streams, but for these fields."""
    values = {"reason": "", "open_gaps": 0, "unfilled_gaps": 0, "newest_post_at": None, **fields}
    return Listened(name, state, state == "streaming", **values)  # type: ignore[arg-type]


def test_machine_without_dagster_says_so(tmp_path: Path) -> None:
    latest = HealthReader(tmp_path).latest(wait_seconds=900)
    assert latest is not None
    assert "make up" in latest.problem


def test_red_check_is_named_until_it_passes(home: Path) -> None:
    passes = False

    @dg.asset
    def toots() -> None: ...

    @dg.asset_check(asset=toots)
    def no_duplicate_toots() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=passes, description="a <b>uri</b> is there twice")

    def evaluate() -> Health:
        with open_instance(home) as instance:
            dg.materialize([toots, no_duplicate_toots], instance=instance)
        return read_health(home, SETTINGS, 0.0)

    red = evaluate()
    assert red.checks == 1
    assert red.red == (RedCheck("toots", "no_duplicate_toots", "a <b>uri</b> is there twice"),)
    passes = True
    assert evaluate().red == ()


def test_busy_page_gets_what_was_read_before(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "READING_SECONDS", 900)
    reader = HealthReader(home)
    assert reader.latest(wait_seconds=900) == Health()
    assert reader.latest() == Health(), "not read again within a minute"


def test_lines_name_the_worst_first_and_few() -> None:
    health = Health(
        servers=(
            *(listened(f"s{number}.example", "parked", reason="gone") for number in range(40)),
            listened("a.example", open_gaps=2),
        ),
        red=(RedCheck("toots", "no_duplicate_toots", "twice"),),
    )
    lines = health.lines()
    assert lines[0] == "toots: no_duplicate_toots: twice"
    assert lines[1] == "s0.example: parked: gone"
    assert len(lines) == MAX_LINES + 1
    assert lines[-1] == "and 22 more"
    assert health.listening == 1
    assert health.states == "40 parked, 1 streaming"


def test_busiest_servers_come_first_in_what_they_are_asked_for() -> None:
    """Shows G7."""
    health = Health(
        servers=(
            listened("quiet.example", "streaming", requests_per_hour=12.4, bytes_per_hour=3_400.0),
            listened("busy.example", "polling", requests_per_hour=1_200.0, rate_budget_used=0.33),
            listened("gone.example", "no report", requests_per_hour=5_000.0),
        )
    )
    heading, *lines = (line.split() for line in health.politeness())
    assert heading == ["server", "requests/h", "kB/h", "of", "its", "limit"]
    assert lines == [
        ["busy.example", "1,200", "0", "33%"],
        ["quiet.example", "12", "3", "unknown"],
    ]
