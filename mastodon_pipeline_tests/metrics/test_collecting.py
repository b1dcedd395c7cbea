"""What Prometheus scrapes, from a Dagster with reports, checks and tables."""

import re
import time
from pathlib import Path

import dagster as dg
import httpx
import msgspec
import pytest
from click.testing import CliRunner

from infra.native_stack import Ports
from mastodon_pipeline.cli.main import cli
from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.event_log import open_instance
from mastodon_pipeline.landing.health import Health, SinkState
from mastodon_pipeline.landing.sink_report import save_sink_report
from mastodon_pipeline.ledger.assets import CHECK
from mastodon_pipeline.listening.supervising.groups import group_names
from mastodon_pipeline.listening.supervising.reports import save_report
from mastodon_pipeline.metrics import collecting
from mastodon_pipeline.metrics.collecting import PREFIX
from mastodon_pipeline.metrics.serving import metrics_server
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.listening.supervising.sample_reports import sample_report
from mastodon_pipeline_tests.support.metrics import Samples, grafana_queries, scrape
from mastodon_pipeline_tests.support.serving import serving

pytestmark = pytest.mark.thorough
LOOPBACK = "127.0.0.1"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty Dagster."""
    return make_home(tmp_path)


def make_home(directory: Path) -> Path:
    """Make a directory Dagster's home."""
    (directory / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return directory


@pytest.fixture(scope="module")
def settings() -> Settings:
    """A pipeline whose Kafka is away."""
    return Settings(kafka_bootstrap_servers=f"{LOOPBACK}:{Ports.free().kafka_port}")


def samples(home: Path, settings: Settings) -> Samples:
    """Serve the metrics, scrape them once, and return them."""
    with metrics_server(home, settings, LOOPBACK, 0) as server, serving(server):
        return scrape(f"http://{LOOPBACK}:{server.server_port}/metrics")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Dagster with a listener's report, a sink that stands still, and records that are lost."""
    home = make_home(tmp_path_factory.mktemp("filled"))

    @dg.asset
    def toots() -> None: ...

    @dg.asset_check(asset=toots, name=CHECK.name)
    def ledger() -> dg.AssetCheckResult:
        metadata = {"missing": 7, "accepted": 2, "received": 30, "acknowledged": 29, "landed": 20}
        return dg.AssetCheckResult(passed=False, metadata=metadata)

    @dg.asset_check(asset=toots)
    def no_duplicate_toots() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    report = sample_report(gaps_lost=3)
    asked = msgspec.structs.replace(
        report.snapshot,
        newest_post_at_ms=1_700_000_000_500,
        requests_per_hour=240.0,
        bytes_per_hour=2e6,
        rate_budget_used=0.25,
    )
    with open_instance(home) as instance:
        dg.materialize([toots, ledger, no_duplicate_toots], instance=instance)
        [group] = group_names(1)
        reports = (msgspec.structs.replace(report, snapshot=asked), sample_report("b.example"))
        save_report(instance, group, "a run", reports)
        save_sink_report(instance, Health(SinkState.STALLED, "behind", None), time.time())
    return home


@pytest.fixture(scope="module")
def scraped(filled: Path, settings: Settings) -> Samples:
    """Its metrics. To find that Kafka is away takes seconds."""
    return samples(filled, settings)


def test_each_server_has_its_figures(scraped: Samples) -> None:
    """Also what is asked of it. Shows G7."""
    a, b = ("local", "a.example"), ("local", "b.example")
    assert scraped["server_listening"] == {a: 1, b: 1}
    assert scraped["server_state"] == {(*a, "streaming"): 1, (*b, "streaming"): 1}
    assert scraped["server_toots_total"] == {a: 10, b: 10}
    assert scraped["server_unfilled_gaps_total"] == {a: 3, b: 0}
    assert scraped["server_newest_post_timestamp_seconds"] == {a: 1_700_000_000.5}
    assert scraped["server_requests_per_hour"] == {a: 240, b: 0}
    assert scraped["server_bytes_per_hour"] == {a: 2e6, b: 0}
    assert scraped["server_rate_budget_used_ratio"] == {a: 0.25}
    assert scraped["listener_runs"] == {(): 0}


def test_loss_and_a_red_check_are_numbers(scraped: Samples) -> None:
    assert scraped["ledger_missing_records"] == {(): 7}
    assert scraped["ledger_landed_records"] == {(): 20}
    assert abs(scraped["ledger_timestamp_seconds"][()] - time.time()) < 600
    assert scraped["check_failed"] == {("toots", CHECK.name): 1, ("toots", "no_duplicate_toots"): 0}
    assert abs(scraped["table_built_timestamp_seconds"][("toots",)] - time.time()) < 600
    assert scraped["sink_healthy"] == {("mastodon-sink",): 0}
    assert scraped["sink_state"] == {("mastodon-sink", "stalled"): 1}


def test_source_that_cannot_be_read_leaves_the_others(scraped: Samples) -> None:
    """Kafka is away."""
    up = dict(scraped["source_up"])
    assert up.pop(("topic",)) == 0
    assert set(up.values()) == {1}
    assert len(up) == 5


def test_listener_that_reports_no_more_listens_no_more(
    filled: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "FRESH_REPORT_SECONDS", -1.0)
    scraped = samples(filled, settings)
    a, b = ("local", "a.example"), ("local", "b.example")
    assert scraped["server_listening"] == {a: 0, b: 0}
    assert scraped["server_state"] == {(*a, "no report"): 1, (*b, "no report"): 1}
    assert "server_requests_per_hour" not in scraped


def test_empty_pipeline_has_metrics_too(home: Path, settings: Settings) -> None:
    scraped = samples(home, settings)
    assert "server_listening" not in scraped
    assert "ledger_missing_records" not in scraped
    assert scraped["source_up"][("ledger",)] == 1


def test_grafana_shows_metrics_that_exist(filled: Path, settings: Settings) -> None:
    """`infra/grafana/dashboard.json`. Those of Kafka, which is away here, exist without values."""
    with metrics_server(filled, settings, LOOPBACK, 0) as server, serving(server):
        text = httpx.get(f"http://{LOOPBACK}:{server.server_port}/metrics", timeout=300).text
    exist = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)) | {f"{PREFIX}_sink_lag_records"}
    shown = set(re.findall(rf"{PREFIX}_\w+", " ".join(grafana_queries().values())))
    assert len(shown) > 10
    assert shown <= exist


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9464", "127.0.0.1.evil.example", "["]
)
def test_page_of_another_site_reads_nothing(home: Path, settings: Settings, host: str) -> None:
    with metrics_server(home, settings, LOOPBACK, 0) as server, serving(server):
        url = f"http://{LOOPBACK}:{server.server_port}/metrics"
        answer = httpx.get(url, headers={"Host": host}, timeout=300)
    assert answer.status_code == 403
    assert PREFIX not in answer.text


def test_machine_without_dagster_says_so(tmp_path: Path, settings: Settings) -> None:
    with (
        pytest.raises(SettingsError, match="make up"),
        metrics_server(tmp_path, settings, LOOPBACK, 0),
    ):
        pass


def test_environment_of_a_stack_without_metrics_is_no_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell that has read `stack.env` has METRICS_PORT=0."""
    monkeypatch.setenv("METRICS_PORT", "0")
    monkeypatch.setenv("MASTODON_PIPELINE_DATA", str(tmp_path))
    result = CliRunner().invoke(cli, ["metrics"])
    assert "make up" in result.stderr, "as without that variable"


@pytest.mark.parametrize("address", ["192.0.2.1", "no-such-host.invalid"])
def test_address_of_another_machine_is_one_line(
    home: Path, settings: Settings, address: str
) -> None:
    with (
        pytest.raises(SettingsError, match=f"cannot listen at {address}:9464: "),
        metrics_server(home, settings, address, 9464),
    ):
        pass
