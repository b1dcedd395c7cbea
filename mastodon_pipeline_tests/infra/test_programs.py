"""The programs' configurations: on loopback, and without a secret where others could read it."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from infra.native_stack import Ports, Program
from infra.native_stack.addresses import (
    Addresses,
    is_stack_env,
    stack_variables,
    write_stack_env,
)
from infra.native_stack.fetch import INFRA, Artifacts
from infra.native_stack.programs import (
    Installation,
    dagster_programs,
    read_variables,
    stack_programs,
    write_properties,
)
from infra.native_stack.supervision import Supervisor
from mastodon_pipeline.settings import load_settings

PORTS = Ports(*range(20001, 20009))


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    nowhere = tmp_path / "cache"
    return Installation(
        data=tmp_path / "data",
        ports=PORTS,
        addresses=Addresses.of(PORTS),
        artifacts=Artifacts(nowhere, nowhere, nowhere, nowhere / "minio"),
        access_key="the-access-key",
        secret_key="the-secret-key",
    )


@pytest.fixture
def programs(installation: Installation) -> dict[str, Program]:
    installation.data.mkdir()
    every = [*stack_programs(installation), *dagster_programs(installation, {}, ("connect",))]
    return {program.name: program for program in every}


def test_no_command_line_holds_a_secret(programs: dict[str, Program]) -> None:
    """`ps` shows command lines to everybody on the machine."""
    for program in programs.values():
        assert "the-secret-key" not in shlex.join(program.command)


def test_only_minio_and_connect_are_told_the_secret(programs: dict[str, Program]) -> None:
    """The broker and the registry have no use for it."""
    told = {name for name, one in programs.items() if "the-secret-key" in one.script()}

    assert told == {"minio", "connect"}


def test_everything_listens_on_loopback(
    programs: dict[str, Program], installation: Installation
) -> None:
    """Every address in every configuration is 127.0.0.1."""
    kafka = (installation.data / "kafka" / "server.properties").read_text()
    connect = (installation.data / "connect" / "worker.properties").read_text()

    assert "listeners=CLIENTS://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002" in kafka
    assert "listeners=http://127.0.0.1:20005" in connect
    assert "127.0.0.1:20006" in programs["minio"].command
    assert "127.0.0.1:20007" in programs["minio"].command
    for listener in ("HTTP", "MANAGEMENT"):
        assert programs["registry"].environment[f"QUARKUS_{listener}_HOST"] == "127.0.0.1"
    assert programs["dagster-webserver"].command[1:3] == ("-h", "127.0.0.1")


def test_the_workers_settings_are_the_reviewed_ones(
    programs: dict[str, Program], installation: Installation
) -> None:
    """The shared file stands first, whole; what is this machine's comes after it."""
    shared = (INFRA / "connect" / "worker.properties").read_text()
    written = (installation.data / "connect" / "worker.properties").read_text()

    assert written.startswith(shared)
    for needed in (
        "offset.flush.interval.ms=1000",
        "connector.client.config.override.policy=All",
        "plugin.discovery=hybrid_warn",
    ):
        assert needed in written.splitlines()


def test_connect_starts_after_what_it_needs_and_dagster_after_all(
    programs: dict[str, Program],
) -> None:
    """A sink that starts before the registry sends good records to the dead-letter topic."""
    assert set(programs["connect"].after) == {"kafka", "minio", "registry"}
    assert programs["dagster-webserver"].after == ("connect",)
    # It makes Dagster's tables in a new home; both at once would trip over each other.
    assert programs["dagster-daemon"].after == ("connect", "dagster-webserver")


def test_own_lines_win_over_shared_ones(tmp_path: Path) -> None:
    """Of two lines with the same name, Java takes the later one."""
    (tmp_path / "shared").write_text("a=1\nb=2")

    written = write_properties(tmp_path / "shared", tmp_path / "new" / "file", {"b": "3"})

    assert written.read_text().splitlines()[:2] == ["a=1", "b=2"]
    assert written.read_text().splitlines()[-1] == "b=3"


def test_a_programs_script_survives_any_value(tmp_path: Path) -> None:
    """Spaces, quotes, dollar signs, percent signs and line ends in tokens and paths."""
    awkward = 'it\'s "50%" of $HOME;\n`x` \\'
    directory = tmp_path / "with space"
    directory.mkdir()
    program = Program(
        name="echo",
        command=("printenv", "TOKEN"),
        ready=lambda: True,
        directory=directory,
        environment={"TOKEN": awkward, "not-a-name": "left out"},
    )

    said = subprocess.run(["sh", "-c", program.script()], capture_output=True, text=True)

    assert said.stdout == awkward + "\n"
    assert said.stderr == ""


def test_a_first_start_is_made_good_when_it_was_interrupted(tmp_path: Path) -> None:
    """Kafka's storage is formatted wherever the file that formatting makes is missing."""
    made = tmp_path / "made"
    program = Program(
        name="kafka",
        command=("cat", str(made)),
        ready=lambda: True,
        directory=tmp_path,
        first=(made, ("sh", "-c", f"echo formatted >> {made}")),
    )

    for _ in range(2):
        said = subprocess.run(["sh", "-c", program.script()], capture_output=True, text=True)
        assert said.stdout == "formatted\n"


def test_a_changed_configuration_changes_the_script(tmp_path: Path) -> None:
    """So the next `up` restarts the program."""
    file = tmp_path / "server.properties"
    file.write_text("a=1")
    program = Program("p", ("true",), lambda: True, tmp_path, reads=(file,))
    before = program.script()

    file.write_text("a=2")

    assert program.script() != before


def test_the_settings_find_the_stack_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`stack.env` is all that the pipeline needs; only its owner may read it."""
    variables = stack_variables(Addresses.of(PORTS), PORTS, {})
    write_stack_env(tmp_path / "stack.env", variables)
    monkeypatch.setenv("MASTODON_PIPELINE_DATA", str(tmp_path))
    for name in variables:
        monkeypatch.delenv(name, raising=False)

    settings = load_settings()

    assert settings.kafka_bootstrap_servers == "127.0.0.1:20001"
    assert settings.schema_registry_url == "http://127.0.0.1:20003/apis/ccompat/v7"
    assert settings.connect_registry_url == "http://127.0.0.1:20003/apis/registry/v2"
    assert settings.kafka_connect_url == "http://127.0.0.1:20005"
    assert settings.s3_endpoint == "http://127.0.0.1:20006"
    assert settings.aws_secret_access_key is not None
    assert settings.aws_secret_access_key.get_secret_value() == (variables["AWS_SECRET_ACCESS_KEY"])
    assert (tmp_path / "stack.env").stat().st_mode & 0o777 == 0o600
    assert is_stack_env(tmp_path / "stack.env")


def test_credentials_are_made_up_once() -> None:
    """Two stacks never share them; one stack keeps them, since its objects depend on them."""
    first = stack_variables(Addresses.of(PORTS), PORTS, {})
    second = stack_variables(Addresses.of(PORTS), PORTS, {})
    kept = stack_variables(Addresses.of(PORTS), PORTS, first)

    assert first["AWS_SECRET_ACCESS_KEY"] != second["AWS_SECRET_ACCESS_KEY"]
    assert kept == first


def test_a_deep_data_directory_still_gets_a_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Unix socket's path fits in 108 bytes, a checkout's path need not."""
    deep = tmp_path.joinpath(*["directory"] * 15)

    assert len(str(Supervisor(deep).socket)) < 108
    assert Supervisor(deep).socket != Supervisor(deep / "other").socket


def test_no_host_of_the_internet_is_named() -> None:
    """Where packages come from is the package clients' business: no mirror, no registry."""
    known = {"127.0.0.1", "0.0.0.0", "maven.apache.org", "www.w3.org", "registry", "minio", "kafka"}
    found = {
        (path.name, host)
        for path in INFRA.rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".py")
        for host in re.findall(r"https?://([\w.-]+)", path.read_text())
    }

    assert {(name, host) for name, host in found if host not in known} == set()


def test_an_env_file_is_read_as_container_engines_read_it(tmp_path: Path) -> None:
    """Comments and empty lines are skipped; quotes and equals signs belong to the value."""
    (tmp_path / "some.env").write_text("# A comment\n\nA=1\nB='x'=y\n")

    assert read_variables(tmp_path / "some.env") == {"A": "1", "B": "'x'=y"}
