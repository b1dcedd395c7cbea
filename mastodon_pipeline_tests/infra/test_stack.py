"""The native stack as it runs: healthy, private, and back when something dies."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import requests
from confluent_kafka.admin import AdminClient

from infra.native_stack import Ports, Program, Stack, StackError
from infra.native_stack.processes import marked_processes

pytestmark = pytest.mark.integration

LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Waits until something holds, and fails where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.2)


def pids(stack: Stack) -> dict[str, int]:
    return {program.name: program.pid for program in stack.status()}


def healthy(stack: Stack) -> bool:
    return {program.state for program in stack.status()} == {"ready"}


def kill(stack: Stack, name: str) -> None:
    """kill -9, and wait until another process does its work."""
    pid = pids(stack)[name]
    os.kill(pid, signal.SIGKILL)
    until(lambda: pids(stack)[name] not in (0, pid) and healthy(stack))


def test_all_parts_are_ready(stack: Stack) -> None:
    """`up` returned, so everything answers."""
    assert {program.name for program in stack.status()} == {
        "kafka",
        "minio",
        "registry",
        "connect",
    }
    assert healthy(stack)
    assert all(program.log.exists() for program in stack.status())
    assert 0 < stack.memory_bytes() < 2_500_000_000


def test_everything_listens_on_loopback_alone(stack: Stack) -> None:
    """Management ports included: nothing is open to the network."""
    listening = {
        connection.laddr
        for process in marked_processes(stack.data)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }

    assert {address.ip for address in listening} <= LOOPBACK
    ports = dict(stack.ports.variables())
    del ports["DAGSTER_PORT"]  # not started here
    assert {address.port for address in listening} == set(ports.values())


def test_credentials_are_their_owners_alone(stack: Stack) -> None:
    """In files of mode 0600 or 0700, in no log, in no command line."""
    secret = stack.environment["AWS_SECRET_ACCESS_KEY"]
    holding = {
        path.name: path.stat().st_mode & 0o077
        for directory in (stack.data, stack.data / "supervisor", stack.supervisor.logs)
        for path in directory.rglob("*")
        if path.is_file() and "minio/" not in str(path) and secret.encode() in path.read_bytes()
    }

    assert holding == {"stack.env": 0, "minio.sh": 0, "connect.sh": 0}
    for process in marked_processes(stack.data):
        assert secret not in " ".join(process.cmdline())


def test_connect_knows_the_sink_and_the_converter(stack: Stack) -> None:
    """The plugins were found, and load."""
    plugins = requests.get(
        f"{stack.addresses.kafka_connect_url}/connector-plugins?connectorsOnly=false", timeout=20
    ).json()
    classes = {plugin["class"] for plugin in plugins}

    assert "org.apache.iceberg.connect.IcebergSinkConnector" in classes
    assert "io.apicurio.registry.utils.converter.AvroConverter" in classes


def test_the_sinks_control_topic_is_there_and_no_topic_comes_by_itself(stack: Stack) -> None:
    """A misspelt topic is an error, not a new topic."""
    admin = AdminClient({"bootstrap.servers": stack.addresses.kafka_bootstrap_servers})

    admin.list_topics(topic="mistodon-topic", timeout=10)
    topics = admin.list_topics(timeout=10).topics

    assert "control-iceberg" in topics
    assert "mistodon-topic" not in topics


def test_a_killed_program_comes_back(stack: Stack) -> None:
    """kill -9 of the object store and of the broker: both are back, with what they held."""
    admin = AdminClient({"bootstrap.servers": stack.addresses.kafka_bootstrap_servers})
    before = set(admin.list_topics(timeout=10).topics)

    kill(stack, "minio")
    kill(stack, "kafka")

    assert set(admin.list_topics(timeout=10).topics) >= before


def test_schemas_survive_a_killed_registry_and_backward_is_the_rule(stack: Stack) -> None:
    """A schema that was just registered is on disk: listeners write with its id from then on.

    And its rule is there without anybody setting it.
    """
    url = stack.addresses.schema_registry_url
    fields = [{"name": "a", "type": "string"}]
    schema = {"schema": json.dumps({"type": "record", "name": "Survivor", "fields": fields})}
    subject = f"{url}/subjects/survivor-value/versions"
    registered = requests.post(subject, json=schema, timeout=10).json()

    kill(stack, "registry")

    found = requests.get(f"{subject}/latest", timeout=10).json()
    assert found["id"] == registered["id"]
    assert json.loads(found["schema"])["fields"] == fields
    assert requests.get(f"{url}/config", timeout=10).json() == {"compatibilityLevel": "BACKWARD"}


def test_up_again_changes_nothing(stack: Stack) -> None:
    """No process is restarted, no credential made anew."""
    before, credentials = pids(stack), stack.env_file.read_text()

    Stack(data=stack.data, say=lambda line: None).up()

    assert pids(stack) == before
    assert stack.env_file.read_text() == credentials


def test_another_program_can_join_and_leave(stack: Stack, tmp_path: Path) -> None:
    """A demo's simulator is started with the stack; one that dies at its start is told, and taken
    out again, with nothing else touched."""
    before = pids(stack)
    joining = Program("joining", ("sleep", "1000"), lambda: True, tmp_path, after=("kafka",))
    failing = Program("failing", ("sh", "-c", "echo no such luck; exit 1"), lambda: False, tmp_path)

    stack.up(extra=[joining])
    with pytest.raises(StackError, match=r"failing died at its start[\s\S]*no such luck"):
        stack.up(extra=[failing])

    assert pids(stack).keys() - before.keys() == {"joining"}
    assert {name: pids(stack)[name] for name in before} == before
    stack.supervisor.forgets("joining")
    assert pids(stack) == before


def test_a_second_stack_on_the_same_ports_is_refused(stack: Stack, tmp_path: Path) -> None:
    """Another checkout's stack is named, with two ways out."""
    second = Stack(data=tmp_path / "second", ports=stack.ports, say=lambda line: None)

    with pytest.raises(StackError) as raised:
        second.up()

    assert f"belongs to the stack of {stack.data}" in str(raised.value)
    assert "set KAFKA_PORT to a free one" in str(raised.value)
    assert marked_processes(second.data) == []


@pytest.fixture
def command_environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of `python -m infra.native_stack` for a stack of this test's own."""
    data = tmp_path / "own"
    ports = {name: str(port) for name, port in Ports.free().variables()}
    yield {**os.environ, **ports, "MASTODON_PIPELINE_DATA": str(data)}
    Stack(data=data, say=lambda line: None).down()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "infra.native_stack", *arguments]


@pytest.mark.parametrize("moment", ["", "minio ready"])
def test_an_interrupted_start_leaves_no_process(
    command_environment: dict[str, str], moment: str
) -> None:
    """Ctrl-C at once, and when half of it runs: nothing is left, and what it wrote is ours."""
    data = Path(command_environment["MASTODON_PIPELINE_DATA"])
    with subprocess.Popen(
        command("up"),
        env={**command_environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as starting:
        assert starting.stdout is not None
        if moment:
            for line in starting.stdout:
                if moment in line:
                    break
        else:
            until(lambda: bool(marked_processes(data)))
        starting.send_signal(signal.SIGINT)
        starting.stdout.read()

    assert starting.returncode == 130
    assert marked_processes(data) == []
    subprocess.run(command("clean"), env=command_environment, check=True, capture_output=True)
    assert not data.exists()


def test_status_of_nothing_and_clean_of_something_else(
    command_environment: dict[str, str],
) -> None:
    """Status fails with a line that says how to start; clean does not touch what is not ours."""
    data = Path(command_environment["MASTODON_PIPELINE_DATA"])
    data.mkdir()
    (data / "thesis.txt").write_text("years of work")

    status = subprocess.run(command("status"), env=command_environment, capture_output=True)
    clean = subprocess.run(command("clean"), env=command_environment, capture_output=True)

    assert status.returncode == 1
    assert b"make up" in status.stdout
    assert clean.returncode == 2
    assert b"not ours to wipe" in clean.stderr
    assert (data / "thesis.txt").exists()


def test_a_deep_data_directory_can_be_used(
    command_environment: dict[str, str], tmp_path: Path
) -> None:
    """A checkout's path may be longer than a Unix socket's may: the process manager starts."""
    deep = tmp_path.joinpath(*["directory"] * 12)
    stack = Stack(data=deep, ports=Ports.from_environment(command_environment))
    deep.mkdir(parents=True)

    stack.supervisor.start()
    try:
        assert stack.supervisor.running()
    finally:
        stack.supervisor.shutdown()
    assert not stack.supervisor.socket.exists()
