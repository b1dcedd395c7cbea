"""What the sensors' ticks and the pages of Dagster's UI cost by days of history and by servers.

The first numbers of days and servers are the baseline. CPU is measured, not time: other work on the
machine adds little to it. Ticks are evaluated in this process; pages are opened in Chromium once,
and what they asked is asked again of the webserver, whose CPU and its code server's count. MinIO
runs, but no Kafka and no daemon: sensors that ask Kafka read none of Dagster's history.

History is Dagster's: a run for each hour and each day, all alike. What a long history in the lake
adds to a tick is measured by `usage_growth`. Servers are configured, and reported by a listener.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click
import dagster as dg
import httpx
import psutil
from playwright.sync_api import Request

from benchmarks.at_rest import wait_for
from benchmarks.dagster_history import copy_run
from benchmarks.object_store import put_objects, run_object_store
from benchmarks.usage_growth import HOUR, QUIET, templates
from infra.native_stack import Ports
from infra.native_stack.pipeline_programs import instance_configuration
from infra.native_stack.probes import http_ok
from infra.pictures import chromium
from mastodon_pipeline.asset_keys import TOPIC_ASSET
from mastodon_pipeline.definitions import defs
from mastodon_pipeline.event_log import open_instance
from mastodon_pipeline.listening.following.statistics import ServerSnapshot
from mastodon_pipeline.listening.jobs import mastodon_listener
from mastodon_pipeline.listening.supervising.checks import report_evaluation
from mastodon_pipeline.listening.supervising.observations import observation_metadata
from mastodon_pipeline.listening.supervising.reports import ServerReport, save_report
from mastodon_pipeline.listening.supervising.rhythm import Rhythm
from mastodon_pipeline.listening.supervising.runs import (
    DEFAULT_GROUP,
    GROUP_TAG,
    load_assignment,
    send_heartbeat,
)
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.partition_keys import DAY_KEY, HOUR_KEY, RANGE_END, RANGE_START
from mastodon_pipeline.usage.remembered_day import FirstDay, save_first_day

DAY = timedelta(days=1)
SENSORS = ("listener_supervisor", "landed_toots_sensor", "alert_sensor")
FIRST_TICKS = 4
"""They learn what has been there before, and are not measured."""
SETTLED_MS = 8000.0
"""Until a page asks for nothing more but what it asks all the time."""
EVENTS = 100
"""As many as a page shows of an asset."""
HOURLY = "/assets/toots_per_server_per_hour"
PAGES = {
    "runs": "/runs",
    "catalog": "/assets",
    "hourly table": HOURLY,
    "its events": f"{HOURLY}?view=events",
    "its partitions": f"{HOURLY}?view=partitions",
    "its check": f"{HOURLY}?view=checks",
    "chart": "/assets/toots_per_server_chart",
    "topic": "/assets/mastodon_topic",
}


class Listener:
    """A listener that reports, without a process."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        """Let Dagster know a run of it."""
        self._instance = instance
        run = instance.create_run_for_job(mastodon_listener, tags={GROUP_TAG: DEFAULT_GROUP})
        started = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, mastodon_listener.name)
        instance.report_dagster_event(started, run.run_id)
        self._run_id = run.run_id

    def report(self) -> list[ServerReport]:
        """Report that every configured server is well."""
        now = time.time()
        reports = [
            ServerReport(
                ServerSnapshot(
                    *(server, "streaming", "", 1000, 10, 1.0, 0.5, int(now * 1000), 0, 0, 0),
                    *(0, 0, 0, ()),
                ),
                Rhythm(since=now - 86_400, observed_at=now, last_toot_at=now),
            )
            for server in load_settings().servers()
        ]
        save_report(self._instance, DEFAULT_GROUP, self._run_id, reports)
        assignment = load_assignment(self._instance, DEFAULT_GROUP)
        version = assignment.version if assignment else None
        send_heartbeat(self._instance, DEFAULT_GROUP, self._run_id, version)
        return reports

    def fill_page(self) -> None:
        """Make as many observations and results of the topic's check as a page shows."""
        metadata = observation_metadata(DEFAULT_GROUP, self.report(), time.time())
        for _ in range(EVENTS):
            observation = dg.AssetObservation(TOPIC_ASSET, metadata=metadata)
            self._instance.report_runless_asset_event(observation)
            report_evaluation(self._instance)


class History:
    """Dagster's past, which becomes longer."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        """Begin with the hour before the last, and yesterday: built by runs, in this process."""
        self._instance, self._days = instance, 0
        now = datetime.now(UTC)
        self._hour = now.replace(minute=0, second=0, microsecond=0) - 2 * HOUR
        self._day = now.replace(hour=0, minute=0, second=0, microsecond=0) - DAY
        hours = [self._hour, *(self._day + hour * HOUR for hour in range(24))]
        template = templates(self._hour)
        put_objects(file for hour in hours for file in template.hour(hour))
        self._hourly = self._run("refresh_hourly_usage", self._hour.strftime(HOUR_KEY))
        self._daily = self._run("refresh_daily_usage", self._day.strftime(DAY_KEY))

    def grow(self, days: int) -> None:
        """Let it begin this many days ago."""
        began = time.monotonic()
        first_day = (self._day - days * DAY).date()
        save_first_day(self._instance, FirstDay(first_day, datetime.now(UTC)))
        hours = range(24 * self._days + 1, 24 * days)
        rows = self._copy(self._hourly, self._hour, HOUR_KEY, [age * HOUR for age in hours])
        starts = range(self._days + 1, days)
        rows += self._copy(self._daily, self._day, DAY_KEY, [age * DAY for age in starts])
        self._days, took = days, time.monotonic() - began
        click.echo(f"  {days:,} days of history: {rows:,} more rows in {took:.0f} s", err=True)

    def _copy(self, run_id: str, moment: datetime, key: str, ages: Sequence[timedelta]) -> int:
        partitions = {(moment - age).strftime(key): age for age in reversed(ages)}
        home = Path(self._instance.root_directory)
        return copy_run(home, run_id, moment.strftime(key), partitions)

    def _run(self, job_name: str, key: str) -> str:
        job = defs.resolve_job_def(job_name)
        tags = {RANGE_START: key, RANGE_END: key}
        done = job.execute_in_process(run_config=QUIET, instance=self._instance, tags=tags)
        return done.run_id


def measure_ticks(
    instance: dg.DagsterInstance, listener: Listener, repetitions: int
) -> dict[str, float]:
    """Return the CPU milliseconds of a tick, by sensor: the median."""
    ticks = {}
    repository = defs.get_repository_def()
    for name in SENSORS:
        sensor, cursor, used = defs.resolve_sensor_def(name), None, []
        for _ in range(FIRST_TICKS + repetitions):
            listener.report()
            began = time.process_time()
            context = dg.build_sensor_context(instance, cursor, repository_def=repository)
            cursor = sensor.evaluate_tick(context).cursor
            used.append(1000 * (time.process_time() - began))
        ticks[f"tick of {name}"] = statistics.median(used[FIRST_TICKS:])
    return ticks


def record_pages(home: Path) -> dict[str, list[Any]]:
    """Open each page in Chromium; return what it asks the webserver, in GraphQL."""
    asked = {}
    with run_webserver(home) as (url, _), chromium() as browser:
        browser.new_context(viewport={"width": 1600, "height": 1000})
        for name, path in PAGES.items():
            page, requests = browser.contexts[0].new_page(), list[Request]()
            page.on("request", partial(list.append, requests))
            page.goto(f"{url}{path}", timeout=240_000)
            page.wait_for_timeout(SETTLED_MS)
            page.close()
            asked[f"page: {name}"] = [
                request.post_data_json for request in requests if "/graphql" in request.url
            ]
    return asked


def measure_pages(home: Path, asked: Mapping[str, Sequence[Any]], visits: int) -> dict[str, float]:
    """Return the CPU milliseconds of the answers, by page, after a visit to warm up: the mean."""
    pages = {}
    with run_webserver(home) as (url, processes), httpx.Client(timeout=300) as client:
        for name, bodies in asked.items():
            began = 0.0
            for number in range(1 + visits):
                if number == 1:
                    began = cpu_seconds(processes)
                for body in bodies:
                    client.post(f"{url}/graphql", json=body).raise_for_status()
            pages[name] = 1000 * (cpu_seconds(processes) - began) / visits
    return pages


@contextmanager
def run_webserver(home: Path) -> Iterator[tuple[str, list[psutil.Process]]]:
    """Run the stack's webserver; yield its address, and it with its code server."""
    port = Ports.free().dagster_port
    url = f"http://127.0.0.1:{port}"
    command = (
        *(sys.executable, "-m", "infra.webserver", "-h", "127.0.0.1", "-p", f"{port}"),
        *("-m", "mastodon_pipeline.definitions"),
    )
    with (home / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as of:
        try:
            wait_for(http_ok(f"{url}/server_info"), 600, "Dagster")
            process = psutil.Process(of.pid)
            yield url, [process, *process.children(recursive=True)]
        finally:
            of.terminate()


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """Return the CPU that processes themselves have used."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def show(costs: Mapping[str, Mapping[str, float]]) -> None:
    """Print a line for each tick and page, and how much more than at first the worst takes."""
    first, *others = costs
    columns = "".join(f"{name:>22}" for name in costs)
    click.echo(f"\nload {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    click.echo(f"\n{'CPU, ms':<30}{columns}")
    for line, baseline in costs[first].items():
        now = [f"{costs[name][line]:.0f} ({costs[name][line] / baseline:.2f})" for name in others]
        click.echo(f"{line:<30}{baseline:>22.0f}" + "".join(f"{each:>22}" for each in now))
    for name, of in costs.items():
        label = name.replace(", ", "_").replace(",", "").replace(" ", "_")
        for kind in ("tick", "page"):
            whole = sum(used for line, used in of.items() if line.startswith(kind))
            click.echo(f"BENCH dagster_growth.{kind}s_cpu_ms_{label} {whole:.0f}")


@click.command()
@click.option("--days", default="10,1000", show_default=True, help="Histories, ascending.")
@click.option(
    "--servers",
    default="3,300",
    show_default=True,
    help="With the first history; the others have the first number.",
)
@click.option("--repetitions", default=20, show_default=True, help="Of each tick.")
@click.option("--visits", default=5, show_default=True, help="Of each page.")
def bench(days: str, servers: str, repetitions: int, visits: int) -> None:
    """CPU of ticks and of the UI's pages by days of history and by servers."""
    costs: dict[str, dict[str, float]] = {}
    counts = [int(count) for count in servers.split(",")]
    with ExitStack() as opened:
        opened.enter_context(run_object_store())
        data = Path(os.environ["MASTODON_PIPELINE_DATA"])
        file, home = data / "servers.toml", data / "dagster"
        file.write_text("")
        os.environ |= {"MASTODON_SERVERS": "", "MASTODON_SERVERS_FILE": f"{file}"}
        os.environ["ALERT_URLS"] = "json://127.0.0.1:9/"  # without, alert_sensor has no work
        home.mkdir()
        (home / "dagster.yaml").write_text(instance_configuration(postgres=False))
        instance = opened.enter_context(open_instance(home))
        listener, history = Listener(instance), History(instance)
        asked: dict[str, list[Any]] = {}
        for length in map(int, days.split(",")):
            history.grow(length)
            for count in counts if not costs else counts[:1]:
                urls = [f"https://server{number}.example" for number in range(count)]
                file.write_text("".join(f'[[servers]]\nurl = "{url}"\n' for url in urls))
                listener.fill_page()
                asked = asked or record_pages(home)
                costs[f"{length:,} days, {count} servers"] = {
                    **measure_ticks(instance, listener, repetitions),
                    **measure_pages(home, asked, visits),
                }
    show(costs)


if __name__ == "__main__":
    bench()
