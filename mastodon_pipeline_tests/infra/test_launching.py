"""What the demo asks Dagster to run at once, against a scripted webserver."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import yaml

from infra.launching import ONE_AT_A_TIME, launch_counting, launch_observations
from infra.native_stack import StackError
from infra.native_stack.pipeline_programs import instance_configuration
from mastodon_pipeline_tests.support.serving import serving

HOURS = [datetime(2026, 11, 17, 4, tzinfo=UTC), datetime(2026, 11, 27, 3, tzinfo=UTC)]


class Dagster:
    """A webserver that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.unfinished: list[str] = []
        self.launched = "LaunchRunSuccess"

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer a GraphQL request."""
        self.asked.append(body)
        if "launchRun" not in body["query"]:
            return {"runsOrError": {"results": [{"runId": run} for run in self.unfinished]}}
        return {
            name: {"__typename": self.launched, "run": {"runId": f"{len(self.asked)}{name}"}}
            for name in body["variables"]
        }

    @property
    def runs(self) -> list[tuple[str, dict[str, str]]]:
        """The jobs that were launched, with their tags."""
        return [
            (
                run["selector"]["jobName"],
                {tag["key"]: tag["value"] for tag in run["executionMetadata"]["tags"]},
            )
            for body in self.asked
            if "launchRun" in body["query"]
            for run in body["variables"].values()
        ]


@pytest.fixture
def dagster() -> Dagster:
    return Dagster()


@pytest.fixture
def url(dagster: Dagster) -> Iterator[str]:
    """The address of a scripted webserver."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            content = json.dumps({"data": dagster.answer(body)}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}"


def test_hours_are_counted_by_one_run(url: str, dagster: Dagster) -> None:
    assert launch_counting(url, HOURS, set())
    tags = {
        "dagster/asset_partition_range_start": "2026-11-17-04:00",
        "dagster/asset_partition_range_end": "2026-11-27-03:00",
    }
    assert dagster.runs == [("refresh_hourly_usage", tags)]


def test_run_of_the_sensor_is_not_doubled(url: str, dagster: Dagster) -> None:
    """Those that were launched so may go on beside another."""
    own: set[str] = set()
    assert launch_counting(url, HOURS, own)
    dagster.unfinished = [*own]
    assert launch_counting(url, HOURS, own)
    dagster.unfinished = [*own, "88ba0092"]
    assert not launch_counting(url, HOURS, own)
    assert len(own) == len(dagster.runs) == 2


def test_too_much_for_one_run_is_left_to_the_sensor(url: str, dagster: Dagster) -> None:
    assert launch_counting(url, [HOURS[0] - timedelta(days=3), HOURS[1]], set())
    assert dagster.runs == []


def test_observations_are_launched_by_one_request(url: str, dagster: Dagster) -> None:
    """Each request would wait until the run of the former one takes the processor."""
    launch_observations(url)
    assert len(dagster.asked) == 1
    assert [job for job, _ in dagster.runs] == [
        "refresh_server_coverage",
        "landed_toots_check",
        "observe_landed_toots",
        "observe_mastodon_topic",
    ]


def test_observations_run_one_after_another(url: str, dagster: Dagster) -> None:
    """By a tag that the instance's queue limits to one run."""
    launch_observations(url)
    assert all(ONE_AT_A_TIME in tags for _, tags in dagster.runs)
    queue = yaml.safe_load(instance_configuration(postgres=False))["concurrency"]["runs"]
    assert {"key": ONE_AT_A_TIME, "limit": 1} in queue["tag_concurrency_limits"]


def test_run_that_dagster_refuses_is_named(url: str, dagster: Dagster) -> None:
    dagster.launched = "PythonError"
    with pytest.raises(StackError, match=r"does not launch refresh_server_coverage: .*PythonError"):
        launch_observations(url)
