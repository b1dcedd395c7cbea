"""The running native stack: healthy, private, and restarted when a program dies."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from infra.native_stack import Ports, Program, Stack, StackError, starting
from infra.native_stack.processes import marked_processes
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.own_stack]

LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.fixture
def stack(separate_stack: Stack) -> Stack:
    """A stack whose programs may be killed."""
    return separate_stack


def pids(stack: Stack) -> dict[str, int]:
    return {program.name: program.pid for program in stack.status()}


def healthy(stack: Stack) -> bool:
    return {program.state for program in stack.status()} == {"ready"}


def kill(stack: Stack, name: str) -> None:
    """kill -9 a program, and wait until it runs again as another process."""
    pid = pids(stack)[name]
    os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: pids(stack)[name] not in (0, pid) and healthy(stack), f"{name} is healthy again"
    )


def test_up_returns_when_every_program_is_ready(stack: Stack) -> None:
    assert {program.name for program in stack.status()} == {
        "kafka",
        "minio",
        "registry",
        "connect",
        "watchdog",
    }
    assert healthy(stack)
    assert all(program.log.exists() for program in stack.status())
    assert 0 < stack.memory_bytes() < 2_500_000_000


def test_running_stack_listens_on_loopback_only(stack: Stack) -> None:
    """Including management ports: nothing is open to the network."""
    listening = {
        connection.laddr
        for process in marked_processes(stack.data)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }

    assert {address.ip for address in listening} <= LOOPBACK
    # Not started here.
    others = {"DAGSTER_PORT", "DAGSTER_CODE_SERVER_PORT", "DASHBOARD_PORT", "METRICS_PORT"}
    ports = {port for name, port in stack.ports.variables() if name not in others}
    assert {address.port for address in listening} == ports


def test_credentials_are_readable_by_their_owner_only(stack: Stack) -> None:
    """They are in files of mode 0600 or 0700, in no log and in no command line. Shows G20."""
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


def test_connect_has_loaded_the_sink_and_the_converter(stack: Stack) -> None:
    plugins = requests.get(
        f"{stack.addresses.kafka_connect_url}/connector-plugins?connectorsOnly=false",
        auth=login(stack, "KAFKA_CONNECT"),
        timeout=300,
    ).json()
    classes = {plugin["class"] for plugin in plugins}

    assert "org.apache.iceberg.connect.IcebergSinkConnector" in classes
    assert "io.apicurio.registry.utils.converter.AvroConverter" in classes


def test_broker_creates_no_topic_by_itself(stack: Stack) -> None:
    """A misspelt topic is an error, not a new topic."""
    admin = AdminClient({"bootstrap.servers": stack.addresses.kafka_bootstrap_servers})

    admin.list_topics(topic="mistodon-topic", timeout=300)

    assert "mistodon-topic" not in admin.list_topics(timeout=300).topics


def test_killed_program_is_restarted_with_its_data(stack: Stack) -> None:
    """kill -9 of the object store and of the broker."""
    admin = AdminClient({"bootstrap.servers": stack.addresses.kafka_bootstrap_servers})
    admin.create_topics([NewTopic("survivor", 1, 1)])["survivor"].result(300)

    kill(stack, "minio")
    kill(stack, "kafka")

    assert "survivor" in admin.list_topics(timeout=300).topics


def test_schemas_and_compatibility_rule_survive_a_killed_registry(stack: Stack) -> None:
    """A registered schema is on disk at once: listeners write with its id from then on.

    The compatibility rule is BACKWARD without being set by a client.
    """
    url, auth = stack.addresses.schema_registry_url, login(stack, "SCHEMA_REGISTRY")
    fields = [{"name": "a", "type": "string"}]
    schema = {"schema": json.dumps({"type": "record", "name": "Survivor", "fields": fields})}
    subject = f"{url}/subjects/survivor-value/versions"
    registered = requests.post(subject, json=schema, auth=auth, timeout=300).json()

    kill(stack, "registry")

    latest = requests.get(f"{subject}/latest", auth=auth, timeout=300).json()
    assert latest["id"] == registered["id"]
    assert json.loads(latest["schema"])["fields"] == fields
    config = requests.get(f"{url}/config", auth=auth, timeout=300).json()
    assert config == {"compatibilityLevel": "BACKWARD"}


def test_second_up_changes_nothing(stack: Stack) -> None:
    """No process is restarted, and the credentials stay. Shows G18."""
    before, credentials = pids(stack), stack.env_file.read_text()

    Stack(data=stack.data, say=lambda line: None).up()

    assert pids(stack) == before
    assert stack.env_file.read_text() == credentials


def test_extra_program_can_be_added_and_removed(stack: Stack, tmp_path: Path) -> None:
    """Like the demo's simulator; one that dies while starting is reported and removed again, and
    the other programs are left alone."""
    before = pids(stack)
    joining = Program("joining", ("sleep", "1000"), lambda: True, tmp_path, depends_on=("kafka",))
    failing = Program("failing", ("sh", "-c", "echo no such luck; exit 1"), lambda: False, tmp_path)

    stack.up(extra=[joining])
    with pytest.raises(StackError, match=r"failing died while starting[\s\S]*no such luck"):
        stack.up(extra=[failing])

    assert pids(stack).keys() - before.keys() == {"joining"}
    assert {name: pids(stack)[name] for name in before} == before
    stack.supervisor.remove("joining")
    assert pids(stack) == before


def test_program_that_cannot_be_started_is_reported_with_the_reason(
    stack: Stack, tmp_path: Path
) -> None:
    """supervisord refuses at once what it sees fail at once: here a log that is a directory."""
    before = pids(stack)
    stack.supervisor.log_of("mute").mkdir(parents=True)

    with pytest.raises(StackError, match=r"mute died while starting: .*EISDIR"):
        stack.up(extra=[Program("mute", ("true",), lambda: False, tmp_path)])

    assert pids(stack) == before


def test_program_that_starts_broken_is_started_again(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the registry without its tables: it answers, and will never be ready."""
    monkeypatch.setattr(starting, "BROKEN_SECONDS", 1.0)
    starts = tmp_path / "starts"

    def count() -> int:
        return len(starts.read_text().splitlines()) if starts.exists() else 0

    script = f"echo once more >> {starts}; exec sleep 1000"
    stubborn = Program(
        "stubborn",
        ("sh", "-c", script),
        ready=lambda: count() == 2,
        directory=tmp_path,
        broken=lambda: count() == 1,
    )

    stack.up(extra=[stubborn])

    assert count() == 2
    stack.supervisor.remove("stubborn")


def test_second_stack_on_the_same_ports_is_refused(stack: Stack, tmp_path: Path) -> None:
    """The error names the other checkout's stack, and two fixes."""
    second = Stack(data=tmp_path / "second", ports=stack.ports, say=lambda line: None)

    with pytest.raises(StackError) as raised:
        second.up()

    assert f"in use by the stack of {stack.data}" in str(raised.value)
    assert "set KAFKA_PORT to a free port" in str(raised.value)
    assert marked_processes(second.data) == []


@pytest.fixture
def command_environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of `python -m infra.native_stack` for a separate stack."""
    data = tmp_path / "own"
    ports = {name: str(port) for name, port in Ports.free().variables()}
    yield {**os.environ, **ports, "MASTODON_PIPELINE_DATA": str(data)}
    Stack(data=data, say=lambda line: None).down()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "infra.native_stack", *arguments]


@pytest.mark.parametrize("moment", ["", "minio ready"])
def test_interrupted_start_leaves_no_process(
    command_environment: dict[str, str], moment: str
) -> None:
    """Ctrl-C at the beginning, and when some programs run; `clean` then deletes the data.

    Shows G18.
    """
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
            wait_until(lambda: marked_processes(data), "the first process is started")
        starting.send_signal(signal.SIGINT)
        starting.stdout.read()

    assert starting.returncode == 130
    assert marked_processes(data) == []
    subprocess.run(command("clean"), env=command_environment, check=True, capture_output=True)
    assert not data.exists()


def test_status_of_a_stopped_stack_names_the_command_that_starts_it(
    command_environment: dict[str, str],
) -> None:
    status = subprocess.run(command("status"), env=command_environment, capture_output=True)

    assert status.returncode == 1
    assert b"make up" in status.stdout


def test_clean_refuses_a_directory_that_no_stack_made(command_environment: dict[str, str]) -> None:
    data = Path(command_environment["MASTODON_PIPELINE_DATA"])
    data.mkdir()
    (data / "thesis.txt").write_text("years of work")

    clean = subprocess.run(command("clean"), env=command_environment, capture_output=True)

    assert clean.returncode == 2
    assert b"so it is not deleted" in clean.stderr
    assert (data / "thesis.txt").exists()


def test_stack_starts_in_a_deep_data_directory(
    command_environment: dict[str, str], tmp_path: Path
) -> None:
    """A checkout's path may be longer than a Unix socket's."""
    deep = tmp_path.joinpath(*["directory"] * 12)
    stack = Stack(data=deep, ports=Ports.from_environment(command_environment))
    deep.mkdir(parents=True)

    stack.supervisor.launch()
    try:
        assert stack.supervisor.running()
    finally:
        stack.supervisor.shutdown()
    assert not stack.supervisor.socket.exists()


def login(stack: Stack, service: str) -> tuple[str, str]:
    """Return user and password of a service."""
    return stack.environment[f"{service}_USERNAME"], stack.environment[f"{service}_PASSWORD"]
