"""The metrics themselves, read from Dagster's storage and Kafka when they are asked for.

Each source is read by itself: one that does not answer leaves the others as they are, and
`mastodon_pipeline_source_up` says which. Names follow Prometheus: base units, `_total` for
counters, times as seconds since 1970 (UTC), so that an age is `time() - metric`.

See: https://prometheus.io/docs/practices/naming/
"""

import time
from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import Any

import dagster as dg
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mastodon_pipeline.alerting.observing import red_checks
from mastodon_pipeline.event_log import stored_checks
from mastodon_pipeline.landing.sink_progress import sink_progress
from mastodon_pipeline.landing.sink_report import load_sink_report
from mastodon_pipeline.ledger.assets import CHECK as LEDGER_CHECK
from mastodon_pipeline.listening.supervising.checks import FRESH_REPORT_SECONDS
from mastodon_pipeline.listening.supervising.groups import group_names
from mastodon_pipeline.listening.supervising.reports import latest_by_feed, load_reports
from mastodon_pipeline.listening.supervising.runs import JOB_NAME as LISTENER_JOB
from mastodon_pipeline.settings import Settings

PREFIX = "mastodon_pipeline"
HELD_SECONDS = 10.0
"""Scrapes that follow each other sooner share an answer: several Prometheus cost as much as one."""
KAFKA_TIMEOUT_SECONDS = 5.0
"""Half of the ten seconds that Prometheus waits by default."""
_SERVER = ("server", "feed")
_LEDGER = {
    "missing": "Records that are missing, and not accepted as lost",
    "accepted": "Missing records that a person accepted",
    "received": "Records that listeners received, of the hours compared",
    "acknowledged": "Records that Kafka acknowledged, of the hours compared",
    "left_out": "Records left out for a reason, of the hours compared",
    "landed": "Records that have landed, of the hours compared",
}


class PipelineCollector(Collector):
    """Reads the metrics of one pipeline for a Prometheus registry."""

    def __init__(self, instance: dg.DagsterInstance, settings: Settings) -> None:
        """`instance`: the Dagster that runs the pipeline."""
        self._instance = instance
        self._settings = settings
        self._latest: list[Metric] = []
        self._read_at = -HELD_SECONDS
        self._lock = Lock()

    def collect(self) -> Iterable[Metric]:
        """Return the metrics; takes seconds at most, whatever does not answer."""
        with self._lock:
            if time.monotonic() - self._read_at >= HELD_SECONDS:
                self._latest = list(self._read())
                self._read_at = time.monotonic()
            return self._latest

    def _read(self) -> Iterator[Metric]:
        sources: dict[str, Callable[[], list[Metric]]] = {
            "listeners": self._listeners,
            "sink": self._sink,
            "topic": self._topic,
            "ledger": self._ledger,
            "checks": self._checks,
            "tables": self._tables,
        }
        up = _gauge("source_up", "Whether what these metrics come from could be read", "source")
        for source, read in sources.items():
            try:
                yield from read()
            except Exception:  # a busy storage, Kafka away: the next scrape reads again
                up.add_metric([source], 0)
            else:
                up.add_metric([source], 1)
        yield up

    def _listeners(self) -> list[Metric]:
        """Return what each listener run last reported of its servers, every 30 s."""
        reports = load_reports(self._instance, group_names(self._settings.listener_groups))
        written = _gauge("listener_report_timestamp_seconds", "Of the last report", "group")
        for group in reports:
            written.add_metric([group.group], group.written_at)
        running = dg.RunsFilter(job_name=LISTENER_JOB, statuses=[dg.DagsterRunStatus.STARTED])
        runs = GaugeMetricFamily(
            f"{PREFIX}_listener_runs",
            "Listener runs that Dagster knows to run",
            value=self._instance.get_runs_count(running),
        )
        listening = _gauge("server_listening", "Whether its feed is streamed or polled", *_SERVER)
        state = _gauge("server_state", "1 for the state that it is in", *_SERVER, "state")
        toots = _counter("server_toots", "Toots recorded since its listener began", *_SERVER)
        dead = _counter("server_dead_letters", "Toots that could not be recorded", *_SERVER)
        gaps = _gauge("server_open_gaps", "Gaps that are being filled", *_SERVER)
        unfilled = _counter("server_unfilled_gaps", "Gaps that could not be filled", *_SERVER)
        newest = _gauge("server_newest_post_timestamp_seconds", "Of its newest toot", *_SERVER)
        requests = _gauge("server_requests_per_hour", "To its host, by all its feeds", *_SERVER)
        read = _gauge("server_bytes_per_hour", "Read from its host, by all its feeds", *_SERVER)
        used = _gauge("server_rate_budget_used_ratio", "Used share of its rate limit", *_SERVER)
        for written_at, report in latest_by_feed(reports).values():
            snapshot = report.snapshot
            labels = [snapshot.server.name, snapshot.server.feed]
            fresh = time.time() - written_at <= FRESH_REPORT_SECONDS
            listening.add_metric(labels, snapshot.listening and fresh)
            state.add_metric([*labels, snapshot.state if fresh else "no report"], 1)
            toots.add_metric(labels, snapshot.toots)
            dead.add_metric(labels, snapshot.dead_letters)
            gaps.add_metric(labels, snapshot.open_gaps)
            unfilled.add_metric(labels, snapshot.gaps_lost)
            if snapshot.newest_post_at_ms is not None:
                newest.add_metric(labels, snapshot.newest_post_at_ms / 1000)
            if fresh:
                requests.add_metric(labels, snapshot.requests_per_hour)
                read.add_metric(labels, snapshot.bytes_per_hour)
                if snapshot.rate_budget_used is not None:
                    used.add_metric(labels, snapshot.rate_budget_used)
        of_servers = [listening, state, toots, dead, gaps, unfilled, newest, requests, read, used]
        return [written, runs, *of_servers]

    def _sink(self) -> list[Metric]:
        """Return what `connector_supervisor` saw last, every 20 s."""
        healthy = _gauge("sink_healthy", "Whether records land", "connector")
        state = _gauge("sink_state", "1 for the state that it is in", "connector", "state")
        seen = _gauge("sink_report_timestamp_seconds", "When it was seen so", "connector")
        report = load_sink_report(self._instance)
        if report is not None:
            connector = self._settings.connector_name
            healthy.add_metric([connector], report.healthy)
            state.add_metric([connector, report.state], 1)
            seen.add_metric([connector], report.written_at)
        return [healthy, state, seen]

    def _topic(self) -> list[Metric]:
        labels = ("topic", "partition")
        ends = _counter("topic_end_offset", "The offset of the next record", *labels)
        committed = _counter("sink_committed_offset", "Below it, everything has landed", *labels)
        lag = _gauge("sink_lag_records", "Offsets that the sink has not committed", *labels)
        topic = self._settings.kafka_topic
        for partition in sink_progress(self._settings, KAFKA_TIMEOUT_SECONDS):
            values = [topic, f"{partition.partition}"]
            ends.add_metric(values, partition.end)
            committed.add_metric(values, partition.committed)
            lag.add_metric(values, partition.lag)
        return [ends, committed, lag]

    def _ledger(self) -> list[Metric]:
        """Return what the ledger's last check balanced."""
        latest = self._instance.get_latest_asset_check_evaluation_record(LEDGER_CHECK)
        evaluation = latest.evaluation if latest is not None else None
        if latest is None or evaluation is None:
            return []
        checked = f"{PREFIX}_ledger_timestamp_seconds"
        return [
            GaugeMetricFamily(checked, "Of the last check", value=latest.create_timestamp),
            *(
                GaugeMetricFamily(
                    f"{PREFIX}_ledger_{name}_records", about, value=_number(evaluation, name)
                )
                for name, about in _LEDGER.items()
            ),
        ]

    def _checks(self) -> list[Metric]:
        failed = _gauge("check_failed", "Whether a failure (ERROR) of it stands", "asset", "check")
        checks = stored_checks(self._instance)
        red = {(check.asset, check.name) for check in red_checks(self._instance, checks)}
        for check in checks:
            names = (check.asset_key.to_user_string(), check.name)
            failed.add_metric(names, names in red)
        return [failed]

    def _tables(self) -> list[Metric]:
        built = _gauge("table_built_timestamp_seconds", "When it was last materialised", "table")
        for record in self._instance.get_asset_records():
            entry = record.asset_entry
            if entry.last_materialization is not None:
                table = entry.asset_key.to_user_string()
                built.add_metric([table], entry.last_materialization.timestamp)
        return [built]


def _gauge(name: str, about: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", about, labels=labels)


def _counter(name: str, about: str, *labels: str) -> CounterMetricFamily:
    """Return a counter, which is shown as `<name>_total`."""
    return CounterMetricFamily(f"{PREFIX}_{name}", about, labels=labels)


def _number(evaluation: dg.AssetCheckEvaluation, name: str) -> float:
    value: Any = getattr(evaluation.metadata.get(name), "value", 0)
    return float(value)
