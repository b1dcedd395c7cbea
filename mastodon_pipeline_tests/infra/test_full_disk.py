"""A disk that is full for a while: everything comes back by itself."""

import contextlib
import json
import os
import resource
import signal
import time
from pathlib import Path

import pytest
import requests
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from infra.native_stack import Ports, Program, Stack
from mastodon_pipeline.lake.bucket import ensure_bucket
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline_tests.support.small_disk import NoSmallDisk, fill, small_disk
from mastodon_pipeline_tests.support.waiting import wait_until

FULL_SECONDS = 45.0
"""Kafka has died several times by then."""
BACK_SECONDS = 400.0
"""The registry's database closes itself, which the watchdog sees after a minute."""


@pytest.mark.thorough
def test_supervisord_restarts_programs_while_its_logs_cannot_be_written(tmp_path: Path) -> None:
    """A limit of the size of its files stands for the full disk. Once lifted, it logs again."""
    stack = Stack(data=tmp_path / "data", ports=Ports.free(), say=print)
    stack.data.mkdir()
    supervisor = stack.supervisor
    chatty = Program("chatty", ("sh", "-c", "while echo line; do sleep 0.01; done"), bool, tmp_path)
    supervisor.launch()
    try:
        assert supervisor._process is not None
        pid = supervisor._process.pid
        supervisor.configure([chatty])
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        supervisor.start("chatty")
        killed = {0}
        for _ in range(3):
            new = wait_until(lambda: {supervisor.processes()[0].pid} - killed, "it runs again")
            killed.update(new)
            os.kill(new.pop(), signal.SIGKILL)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        size = supervisor.log_of("chatty").stat().st_size
        wait_until(lambda: supervisor.log_of("chatty").stat().st_size > size, "it logs again")
    finally:
        supervisor.shutdown()


@pytest.mark.integration
@pytest.mark.own_stack
def test_stack_and_dagster_come_back_when_a_full_disk_has_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a hand; what programs delete meanwhile is taken again, so the disk stays full."""
    disk = tmp_path / "disk"
    stack = Stack(data=disk / "data", ports=Ports.free(), say=print)
    monkeypatch.setenv("MASTODON_PIPELINE_DATA", str(stack.data))
    monkeypatch.setenv("MASTODON_SERVERS", "")
    for name, port in stack.ports.variables():
        monkeypatch.setenv(name, str(port))
    with contextlib.ExitStack() as ends:
        try:
            ends.enter_context(small_disk(disk, megabytes=200))
        except NoSmallDisk as error:
            pytest.skip(str(error))
        ends.callback(stack.down)
        stack.up(with_dagster=True)
        began = time.monotonic()
        while time.monotonic() - began < FULL_SECONDS:
            fill(disk / "filling")
            write_everywhere(stack)
        (disk / "filling").unlink()

        def states() -> dict[str, str]:
            return {program.name: program.state for program in stack.status()}

        wait_until(
            lambda: set(states().values()) == {"ready"},
            lambda: f"everything is ready: {states()}",
            BACK_SECONDS,
        )
        wait_until(lambda: write_everywhere(stack) == 3, "all can be written to")


def write_everywhere(stack: Stack) -> int:
    """Create a topic, a schema and a bucket; return how many of them could be."""
    written = 0
    with contextlib.suppress(Exception):
        servers = stack.addresses.kafka_bootstrap_servers
        admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
        name = f"topic-{time.time():.0f}"
        admin.create_topics([NewTopic(name, 1, 1)], operation_timeout=2)[name].result(3)
        written += 1
    with contextlib.suppress(Exception):
        name = f"Record{time.time():.0f}"
        schema = {"schema": json.dumps({"type": "record", "name": name, "fields": []})}
        login = ("pipeline", stack.environment["SCHEMA_REGISTRY_PASSWORD"])
        url = f"{stack.addresses.schema_registry_url}/subjects/{name}/versions"
        requests.post(url, json=schema, auth=login, timeout=3).raise_for_status()
        written += 1
    with contextlib.suppress(Exception):
        ensure_bucket(load_settings(s3_bucket=f"bucket-{time.time():.0f}"))
        written += 1
    return written
