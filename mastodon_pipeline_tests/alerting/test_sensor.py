"""The sensor `alert_sensor` against a real Dagster instance and a real receiver."""

import json
import os
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from mastodon_pipeline.alerting import observing
from mastodon_pipeline.alerting.delivery import Batch, Delivery
from mastodon_pipeline.alerting.sensors import alert, alert_sensor, load_memory
from mastodon_pipeline.asset_keys import LANDED_ASSET
from mastodon_pipeline.definitions import defs
from mastodon_pipeline.landing.health import Health, SinkState
from mastodon_pipeline.landing.jobs import kafka_connect_config
from mastodon_pipeline.landing.sink_report import save_sink_report
from mastodon_pipeline.listening.supervising.groups import ALL_GROUPS
from mastodon_pipeline.listening.supervising.reports import save_report
from mastodon_pipeline.paths import REPOSITORY
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.partition_keys import PARTITION
from mastodon_pipeline.usage.refreshing.jobs import refresh_hourly_usage
from mastodon_pipeline_tests.listening.supervising.dagster_runs import make_run
from mastodon_pipeline_tests.listening.supervising.sample_reports import (
    sample_report,
    sample_rhythm,
)
from mastodon_pipeline_tests.support.receiving import Webhook, webhook

pytestmark = pytest.mark.thorough

MINUTE = 60.0
COMPLETE = dg.AssetCheckKey(LANDED_ASSET, "landed_toots_complete")
RECOUNT = dg.AssetCheckKey(dg.AssetKey("toots_per_server_per_hour"), "hour_equals_recount")
RED = "the check landed_toots_complete of landed_toots is red"
Statvfs = namedtuple("Statvfs", "f_bavail f_frsize f_blocks")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """SQLite, in memory."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Webhook]:
    """A webhook that ALERT_URLS names, and nothing else configured."""
    monkeypatch.setenv("MASTODON_PIPELINE_DATA", str(tmp_path))
    monkeypatch.setenv("MASTODON_SERVERS", "")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(os, "statvfs", lambda _: Statvfs(50, 2**30, 100))
    with webhook() as receiver:
        monkeypatch.setenv("ALERT_URLS", f"json://me:a-secret@{receiver.address}/hook")
        yield receiver


def tick(instance: dg.DagsterInstance) -> str:
    """Evaluate the sensor as Dagster does; return what the tick says."""
    result = alert_sensor(dg.build_sensor_context(instance=instance, definitions=defs))
    assert isinstance(result, dg.SkipReason)
    return result.skip_message or ""


def step(instance: dg.DagsterInstance, minutes: float = 0.0) -> str:
    """Take a step of the sensor's, as if so many minutes had passed."""
    checks = [COMPLETE, RECOUNT]
    return alert(instance, load_settings(), checks, now=time.time() + MINUTE * minutes)


def evaluate(
    instance: dg.DagsterInstance, passed: bool, description: str = "", dead_lettered: int = 0
) -> None:
    """Record a result of the check `landed_toots_complete`."""
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=COMPLETE.asset_key,
            check_name=COMPLETE.name,
            passed=passed,
            description=description,
            metadata={"dead_lettered": dead_lettered},
        )
    )


@dg.asset(key=RECOUNT.asset_key, partitions_def=dg.HourlyPartitionsDefinition("2026-11-24-00:00"))
def hourly_table() -> None:
    """The table of an hour."""


@dg.asset_check(asset=RECOUNT.asset_key, name=RECOUNT.name)
def recount(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Passes if its run's tag says so."""
    return dg.AssetCheckResult(passed=context.run.tags["passes"] == "yes")


RECOUNTED = dg.Definitions(
    assets=[hourly_table],
    asset_checks=[recount],
    jobs=[
        dg.define_asset_job("build_hour", selection=[hourly_table]),
        dg.define_asset_job("check_hour", selection=dg.AssetSelection.checks(recount)),
    ],
)


def run_check(instance: dg.DagsterInstance, hour: str, passed: bool) -> None:
    """Run the check `hour_equals_recount` for an hour, without building it."""
    tags = {PARTITION: hour, "passes": "yes" if passed else "no"}
    job = RECOUNTED.resolve_job_def("check_hour")
    assert job.execute_in_process(instance=instance, tags=tags).success


def build(instance: dg.DagsterInstance, hour: str, passed: bool) -> None:
    """Build an hour, with its check."""
    tags = {"passes": "yes" if passed else "no"}
    job = RECOUNTED.resolve_job_def("build_hour")
    assert job.execute_in_process(instance=instance, tags=tags, partition_key=hour).success


def fail(instance: dg.DagsterInstance, job: dg.JobDefinition, partition: str = "") -> None:
    run = instance.create_run_for_job(job, tags={PARTITION: partition} if partition else {})
    instance.report_run_failed(run, "it was killed")


def hourly_job() -> dg.JobDefinition:
    return defs.resolve_job_def(refresh_hourly_usage.name)


def test_without_urls_the_sensor_does_nothing_and_says_so(
    instance: dg.DagsterInstance, receiver: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALERT_URLS")
    evaluate(instance, passed=False)
    assert "ALERT_URLS is not set" in tick(instance)
    assert load_memory(instance).tracked == []
    assert receiver.messages == []


def test_red_check_and_failing_job_are_a_message_each(
    instance: dg.DagsterInstance, receiver: Webhook
) -> None:
    """G23. And nothing that is stored or shown holds the URL."""
    evaluate(instance, passed=False, description="3 records are nowhere: @everyone <x>")
    for _ in range(3):
        fail(instance, hourly_job(), "2026-11-24-15:00")
    reason = tick(instance)
    assert sorted(receiver.titles) == [
        "refresh_hourly_usage keeps failing (2026-11-24-15:00)",
        RED,
    ]
    [red] = [m["message"] for m in receiver.messages if "red" in m["title"]]
    assert "3 records are nowhere: ＠everyone ＜x＞." in red
    assert "See docs/operations.md#landed_toots_complete" in red
    assert "2 open: " in reason
    assert "target 1 (JSON): accepted 2" in reason
    stored = instance.daemon_cursor_storage.get_cursor_values({"alert_sensor/memory"})
    assert "a-secret" not in f"{reason} {stored}"


def test_sensor_works_in_dagsters_own_processes_and_leaves_no_secret(
    receiver: Webhook, tmp_path: Path
) -> None:
    """G20, G23. A code server evaluates it, with this instance and all checks of the repository."""
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        evaluate(instance, passed=False)
    preview = subprocess.run(
        [
            *(Path(sys.executable).parent / "dagster", "sensor", "preview", "alert_sensor"),
            *("-w", "workspace.yaml"),
        ],
        cwd=REPOSITORY,
        env={**os.environ, "DAGSTER_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert "target 1 (JSON): accepted 1" in preview.stdout + preview.stderr
    assert receiver.titles == [RED]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert b"a-secret" not in b"".join(path.read_bytes() for path in files)
    assert "a-secret" not in preview.stdout + preview.stderr


def test_restarted_daemon_repeats_no_message(
    instance: dg.DagsterInstance, receiver: Webhook
) -> None:
    """G23. What was sent is in Dagster's storage, not in a process or a cursor."""
    evaluate(instance, passed=False)
    for _ in range(5):
        tick(instance)
    assert receiver.titles == [RED]


def test_message_is_sent_again_until_the_target_accepts_it(
    instance: dg.DagsterInstance, receiver: Webhook
) -> None:
    """G23. A target that is away fails no tick and loses no message, also of what is over."""
    receiver.status = 503
    evaluate(instance, passed=False)
    assert "it answered with HTTP 503, 1 waiting, sent again" in step(instance)
    evaluate(instance, passed=True)
    step(instance, 1)
    step(instance, 7)
    assert receiver.titles == []
    receiver.status = 200
    step(instance, 60)
    assert receiver.titles == [RED, f"over: {RED}"]


def test_corrected_url_gets_the_open_problems(
    instance: dg.DagsterInstance, receiver: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = os.environ["ALERT_URLS"]
    monkeypatch.setenv("ALERT_URLS", "carrier-pigeon://a.example")
    evaluate(instance, passed=False)
    assert "it is no URL that Apprise can use" in tick(instance)
    monkeypatch.setenv("ALERT_URLS", right)
    tick(instance)
    assert receiver.titles == [RED]


def test_messages_survive_a_process_that_dies_while_it_sends(
    instance: dg.DagsterInstance, receiver: Webhook
) -> None:
    """G23."""

    def die(batches: object) -> list[Delivery]:
        raise KeyboardInterrupt

    evaluate(instance, passed=False)
    with pytest.raises(KeyboardInterrupt):
        alert(instance, load_settings(), [COMPLETE], send=die)
    tick(instance)
    assert receiver.titles == [RED]


def test_wrong_hour_is_over_only_once_that_hour_is_right(
    instance: dg.DagsterInstance, receiver: Webhook
) -> None:
    """The next hour's check passes a minute later, and says nothing about it."""
    run_check(instance, "2026-11-24-15:00", passed=False)
    step(instance)
    run_check(instance, "2026-11-24-16:00", passed=True)
    step(instance, 1)
    step(instance, 10)
    [title] = receiver.titles
    assert "(2026-11-24-15:00)" in receiver.messages[0]["message"]
    run_check(instance, "2026-11-24-15:00", passed=True)
    step(instance, 11)
    step(instance, 20)
    assert receiver.titles == [title, f"over: {title}"]


def test_hour_that_was_built_again_stays_right_however_many_results_follow(
    instance: dg.DagsterInstance, receiver: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a check's newest results are read; those of a busy day push an hour's out."""
    monkeypatch.setattr(observing, "MAX_SUCCESSES", 2)
    build(instance, "2026-11-24-15:00", passed=False)
    step(instance)
    [title] = receiver.titles
    build(instance, "2026-11-24-15:00", passed=True)
    for hour in range(16, 20):
        build(instance, f"2026-11-24-{hour}:00", passed=True)
    step(instance, 1)
    step(instance, 10)
    assert receiver.titles == [title, f"over: {title}"]


def test_two_groups_that_flap_are_two_messages(
    instance: dg.DagsterInstance, receiver: Webhook
) -> None:
    """Their failed runs are not reported as a failing job too."""
    for group in ("group-1", "group-2"):
        for _ in range(4):
            make_run(instance, dg.DagsterRunStatus.FAILURE, group)
    make_run(instance, dg.DagsterRunStatus.FAILURE, "group-3")
    step(instance)
    assert sorted(receiver.titles) == [
        "the listener of group-1 keeps failing",
        "the listener of group-2 keeps failing",
    ]


def test_server_that_is_parked_or_silent_is_a_message_each(
    instance: dg.DagsterInstance, receiver: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASTODON_SERVERS", "a.example,b.example,c.example")
    now = time.time()
    silent = sample_rhythm(silent_seconds=3600, now=now)
    usual = sample_rhythm(now=now)
    reports = [
        sample_report("a.example", rhythm=usual),
        sample_report("b.example", state="parked", reason="<evil>", rhythm=usual),
        sample_report("c.example", rhythm=silent),
    ]
    save_report(instance, ALL_GROUPS[0], "run", reports)
    step(instance)
    assert receiver.titles == []
    monkeypatch.setattr(time, "time", lambda: now + 3 * MINUTE)
    save_report(instance, ALL_GROUPS[0], "run", reports)
    step(instance)
    assert sorted(receiver.titles) == ["b.example is parked", "c.example is not reporting"]
    assert "evil" not in json.dumps(receiver.messages)


def test_wrong_clock_is_a_message(
    instance: dg.DagsterInstance, receiver: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine's, as the followed servers show it; at once: every toot is misplaced."""
    monkeypatch.setenv("MASTODON_SERVERS", "a.example")
    usual = sample_rhythm(now=time.time())
    report = sample_report("a.example", rhythm=usual, clock_difference_seconds=-28_800.0)
    save_report(instance, ALL_GROUPS[0], "run", [report])
    step(instance)
    assert receiver.titles == ["the clock is wrong: toots are counted in wrong hours"]


def test_sink_that_stands_still_is_a_message_and_its_repairs_are_none(
    instance: dg.DagsterInstance, receiver: Webhook
) -> None:
    for minute in range(5):
        at = time.time() + MINUTE * minute
        health = Health(SinkState.STALLED, "RUNNING; 5 records behind, none committed", None)
        save_sink_report(instance, health, at)
        fail(instance, kafka_connect_config)
        step(instance, minute)
    assert receiver.titles == ["the sink mastodon-sink is stalled: nothing lands"]
    assert "connector_supervisor does not report" in step(instance, 60), "unknown, and not over"
    save_sink_report(instance, Health(SinkState.HEALTHY, "", None), time.time() + 61 * MINUTE)
    step(instance, 61)
    save_sink_report(instance, Health(SinkState.HEALTHY, "", None), time.time() + 67 * MINUTE)
    step(instance, 67)
    assert receiver.titles[1:] == ["over: the sink mastodon-sink is stalled: nothing lands"]


def test_dead_letters_that_grow_are_a_message(
    instance: dg.DagsterInstance, receiver: Webhook
) -> None:
    evaluate(instance, passed=True, dead_lettered=2)
    evaluate(instance, passed=True, dead_lettered=9)
    step(instance)
    step(instance, 5)
    assert receiver.titles == ["the sink put 7 more records into the dead letters"]


def test_disk_that_is_nearly_full_is_a_message(
    instance: dg.DagsterInstance, receiver: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: Statvfs(3, 2**30, 100))
    step(instance)
    assert "3.0 GiB of 100.0 GiB are free" in receiver.messages[0]["message"]


def test_storage_that_cannot_be_read_fails_no_tick_and_ends_no_problem(
    instance: dg.DagsterInstance, receiver: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(instance, passed=False)
    step(instance)

    def busy(*_: object) -> None:
        raise OSError("database is locked")

    monkeypatch.setattr(instance, "get_latest_asset_check_evaluation_record", busy)
    assert "not known: sink (OSError)" in step(instance, 30)
    step(instance, 60)
    assert receiver.titles == [RED]


def test_a_tick_hands_each_target_what_waits_for_it_alone(
    instance: dg.DagsterInstance, receiver: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target that accepted a message does not get it again because another one did not."""
    with webhook() as other:
        both = f"{os.environ['ALERT_URLS']},json://{other.address}"
        monkeypatch.setenv("ALERT_URLS", both)
        other.status = 500
        evaluate(instance, passed=False)
        step(instance)
        other.status = 200
        step(instance, 2)
        assert (receiver.titles, other.titles) == ([RED], [RED])


def test_batches_hide_their_url() -> None:
    assert "a-secret" not in repr(Batch("json://a-secret", []))
