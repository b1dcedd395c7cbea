"""The whole system in containers: killed one by one, and all started again, under load."""

import contextlib
import os
import secrets
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError

from infra.native_stack.ports import Ports
from mastodon_pipeline_tests.containers.engine import Engine, build_image
from mastodon_pipeline_tests.support.waiting import wait_until

SERVICES = (
    *("kafka", "minio", "registry", "connect"),
    *("code-server", "webserver", "daemon", "dashboard", "metrics"),
)
PROFILES = ("simulator", "metrics")
"""What the Compose file leaves out unless it is asked for."""
LIVE_TOOTS_PER_SECOND = 5.0
HEALTHY_SECONDS = 2400.0
"""A generous limit of each wait for containers."""
COMPARISON_SECONDS = 1800.0
SOURCE_UP = "mastodon_pipeline_source_up{"
IMAGE_MB = 1200
"""The image must be smaller, uncompressed."""


class System:
    """The containers of one Compose project."""

    def __init__(
        self,
        engine: Engine,
        image: str,
        settings_file: Path,
        services: Sequence[str] = SERVICES,
        more_files: Sequence[Path] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """`variables`: further ones that the Compose files read."""
        ports = Ports.free()
        self._engine = engine
        self._services, self._more_files = services, more_files
        self._project = f"mastodon-trial-{secrets.token_hex(3)}"
        self.network = f"{self._project}_default"
        self.ui = f"http://127.0.0.1:{ports.dagster_port}"
        self.dashboard = f"http://127.0.0.1:{ports.dashboard_port}"
        self.metrics = f"http://127.0.0.1:{ports.connect_port}/metrics"
        self.minio = f"http://127.0.0.1:{ports.minio_port}"
        self._control = f"http://127.0.0.1:{ports.kafka_port}"
        self._settings = {
            "MASTODON_PIPELINE_IMAGE": image,
            "MASTODON_PIPELINE_SETTINGS": str(settings_file),
            "DAGSTER_PORT": str(ports.dagster_port),
            "DASHBOARD_PORT": str(ports.dashboard_port),
            "METRICS_PORT": str(ports.connect_port),
            "MINIO_PORT": str(ports.minio_port),
            "MINIO_CONSOLE_PORT": str(ports.minio_console_port),
            "SIMULATOR_CONTROL_PORT": str(ports.kafka_port),
            **(variables or {}),
        }

    def up(self) -> None:
        """Create and start what does not run, and wait until everything answers."""
        self.create()
        self.await_healthy()

    def create(self) -> None:
        """Create and start what does not run."""
        self._compose("up", "-d", "--no-build")

    def remove(self) -> None:
        """Stop and delete everything, volumes included."""
        self._compose("down", "--volumes", "--timeout", "20")

    def kill(self, service: str) -> None:
        """Kill a container's processes, as a crash would; its engine starts it again."""
        os.kill(self._pid(service), signal.SIGKILL)

    def stop_and_delete_containers(self) -> None:
        """Delete every container but the simulated servers'; volumes stay."""
        containers = [self._container(service) for service in self._services]
        self._engine.run("stop", "--time", "70", *reversed(containers), timeout_seconds=600)
        for container in reversed(containers):  # Podman deletes none that others depend on
            self._engine.run("rm", "--force", container)

    def await_healthy(self) -> None:
        """Wait until every container is healthy, as its engine sees it."""
        sick = list(self._services)

        def healthy() -> bool:
            sick[:] = [service for service in sick if not self._healthy(service)]
            if not sick:  # each was, but perhaps not all at once
                sick[:] = [service for service in self._services if not self._healthy(service)]
            return not sick

        wait_until(healthy, lambda: self._describe(sick), HEALTHY_SECONDS, poll_seconds=1)

    def publish(self, toots_per_second: float) -> None:
        """Let the simulated servers publish in real time; 0 stops them."""
        params = {"rate": toots_per_second}
        httpx.post(f"{self._control}/live", params=params, timeout=20).raise_for_status()

    def published(self) -> int:
        """Return how many toots have been published."""
        return int(httpx.get(f"{self._control}/status", timeout=20).json()["published"])

    def compare(self) -> str:
        """Wait until the counts are the truth, and return the comparison."""
        command = ("python", "-m", "infra.containers", "compare")
        container = self._container("webserver")
        outputs = [""]

        def agrees() -> bool:
            # The command gives up after minutes, and a busy machine may need more.
            done = self._engine.run(
                *("exec", container, *command), check=False, timeout_seconds=COMPARISON_SECONDS
            )
            outputs[:] = [done.stdout]
            return done.returncode == 0

        wait_until(agrees, lambda: outputs[0], COMPARISON_SECONDS, poll_seconds=2)
        return outputs[0]

    def memory(self) -> dict[str, str]:
        """Return what each container uses, as its engine reports it."""
        form = "{{.Name}} {{.MemUsage}}"
        lines = self._engine.run("stats", "--no-stream", "--format", form).stdout.splitlines()
        rows = [line.split() for line in lines if line.startswith(self._project)]
        return {row[0].removeprefix(self._project).strip("-_"): row[1] for row in rows}

    def dashboards_keys(self) -> dict[str, str]:
        """Return the variables of the object store that the dashboard's process has."""
        command = ("exec", self._container("dashboard"), "sh", "-c", "cat /proc/[0-9]*/environ")
        variables = self._engine.run(*command).stdout.split("\0")
        pairs = (variable.partition("=") for variable in variables)
        return {name: value for name, _, value in pairs if name.startswith("AWS_")}

    def _compose(self, *arguments: str) -> None:
        files = (word for file in self._more_files for word in ("-f", str(file)))
        profiles = (word for profile in PROFILES for word in ("--profile", profile))
        options = (*files, "-p", self._project, *profiles)
        self._engine.compose(*options, *arguments, settings=self._settings)

    def _container(self, service: str) -> str:
        labels = {"project": self._project, "service": service}
        filters = (f"--filter=label=com.docker.compose.{k}={v}" for k, v in labels.items())
        return self._engine.run("ps", "--all", "--quiet", *filters).stdout.strip()

    def _pid(self, service: str) -> int:
        form = "{{.State.Pid}}"
        return int(self._engine.run("inspect", "--format", form, self._container(service)).stdout)

    def _healthy(self, service: str) -> bool:
        container = self._container(service)
        if not container:
            return False
        if self._engine.is_podman:  # which asks by itself only where systemd runs
            return self._engine.run("healthcheck", "run", container, check=False).returncode == 0
        form = "{{.State.Health.Status}}"
        answer = self._engine.run("inspect", "--format", form, container, check=False)
        return answer.stdout.strip() == "healthy"

    def _describe(self, services: list[str]) -> str:
        logs = []
        for service in services:
            if container := self._container(service):
                output = self._engine.run("logs", "--tail", "15", container, check=False).stdout
                logs.append(f"--- {service}\n{output}")
        return f"unhealthy: {', '.join(services)}\n" + "\n".join(logs)


@contextlib.contextmanager
def running_system(engine: Engine, image: str) -> Iterator[System]:
    """Run the system with simulated servers; delete it afterwards, volumes included."""
    with tempfile.TemporaryDirectory() as directory:
        settings = Path(directory) / "settings.env"
        settings.write_text("MASTODON_POLL_INTERVAL_SECONDS=1\n")
        system = System(engine, image, settings)
        try:
            system.up()
            yield system
        finally:
            system.remove()


def run_trial(engine: Engine, image: str, say: Callable[[str], object] = print) -> None:
    """Build, run, kill and restart; raises AssertionError if a toot is lost or counted twice."""
    began = time.monotonic()
    build_image(engine, image)
    size = engine.size_bytes(image) / 1e6
    say(f"image: {size:,.0f} MB, built in {time.monotonic() - began:.0f} s")
    assert size < IMAGE_MB, "the image has grown: see what is left out in the Dockerfile"
    began = time.monotonic()
    with running_system(engine, image) as system:
        say(f"up and healthy after {time.monotonic() - began:.0f} s")
        say(system.compare())
        say(f"counted after {time.monotonic() - began:.0f} s; memory: {system.memory()}")
        assert_pages_answer(system)
        system.publish(LIVE_TOOTS_PER_SECOND)
        for service in SERVICES:
            outlive(f"{service} killed", partial(system.kill, service), system, say)
        system.publish(0)
        say(system.compare())
        system.publish(LIVE_TOOTS_PER_SECOND)
        outlive("all containers new", partial(_start_again, system), system, say)
        system.publish(0)
        say(system.compare())
        assert_pages_answer(system)
        say(f"published {system.published():,}, each counted once")


def assert_pages_answer(system: System) -> None:
    """Check Dagster's UI, the dashboard and the metrics, as a browser of this machine asks."""
    assert httpx.get(f"{system.ui}/server_info", timeout=20).status_code == 200
    page = httpx.get(system.dashboard, timeout=20)
    assert page.status_code == 200
    assert "streamlit" in page.text.lower()
    assert data_status(system.dashboard, "127.0.0.1") == 101
    assert data_status(system.dashboard, "rebound.example") == 403, "another site's page may read"
    metrics = httpx.get(system.metrics, timeout=60).text
    sources = [line for line in metrics.splitlines() if line.startswith(SOURCE_UP)]
    assert sources
    assert all(line.endswith(" 1.0") for line in sources), sources
    assert_dashboard_only_reads(system)


def data_status(dashboard: str, host: str) -> int:
    """Return how the dashboard answers a page of this host that asks for its WebSocket."""
    headers = {
        "Host": host,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    with httpx.stream("GET", f"{dashboard}/_stcore/stream", headers=headers, timeout=60) as answer:
        return answer.status_code


def assert_dashboard_only_reads(system: System) -> None:
    """Check the keys that the dashboard's process has."""
    keys = system.dashboards_keys()
    client = boto3.client(
        "s3",
        endpoint_url=system.minio,
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        region_name=keys["AWS_REGION"],
    )
    with contextlib.closing(client) as s3:
        assert s3.list_objects_v2(Bucket="mastodon", Prefix="usage/")["KeyCount"] > 0
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.put_object(Bucket="mastodon", Key="usage/foreign", Body=b"")


def outlive(
    what: str, fault: Callable[[], None], system: System, say: Callable[[str], object]
) -> None:
    """Cause a fault, wait until every container is healthy again, and say after how long."""
    began = time.monotonic()
    fault()
    system.await_healthy()
    say(f"{what + ',':<24} all healthy again after {time.monotonic() - began:>4.0f} s")


def _start_again(system: System) -> None:
    system.stop_and_delete_containers()
    system.up()
