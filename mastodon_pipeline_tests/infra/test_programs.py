"""The programs' configurations: on loopback, and without secrets that other users could read."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from infra.native_stack import Program, Stack, StackError
from infra.native_stack.addresses import is_stack_env, stack_variables, write_stack_env
from infra.native_stack.fetch import INFRA
from infra.native_stack.pipeline_programs import dashboard_program
from infra.native_stack.ports import Ports
from infra.native_stack.programs import (
    Installation,
    read_variables,
    stack_programs,
    write_properties,
)
from infra.native_stack.supervision import Supervisor
from mastodon_pipeline.settings import load_settings


def test_command_lines_hold_no_secret(programs: dict[str, Program]) -> None:
    """`ps` shows command lines to every user of the machine. Shows G20."""
    for program in programs.values():
        for secret in ("the-secret-key", "the-registry-password", "the-connect-password"):
            assert secret not in shlex.join(program.command)


def test_each_program_gets_only_the_secrets_that_it_needs(programs: dict[str, Program]) -> None:
    """The sink in Connect reads the registry and writes to the store; the broker needs nothing."""
    scripts = {name: program.script() for name, program in programs.items()}
    secrets = ("the-secret-key", "the-registry-password", "the-connect-password")

    holders = {secret: {n for n in scripts if secret in scripts[n]} for secret in secrets}

    assert holders == {
        "the-secret-key": {"minio", "connect"},
        "the-registry-password": {"registry", "connect"},
        "the-connect-password": set(),  # in a file that only its owner may read
    }


def test_dashboard_has_keys_that_only_read(installation: Installation) -> None:
    """Even though Dagster, beside it, gets those that write."""
    writing = {"AWS_SECRET_ACCESS_KEY": "the-secret-key", "AWS_ACCESS_KEY_ID": "the-access-key"}
    dashboard = dashboard_program(installation, writing)
    assert dashboard.environment["AWS_SECRET_ACCESS_KEY"] == "the-readers-secret"
    assert dashboard.environment["AWS_ACCESS_KEY_ID"] == "the-readers-key"
    assert "the-secret-key" not in dashboard.script()


def test_connects_users_are_in_a_private_file(
    programs: dict[str, Program], installation: Installation
) -> None:
    """Kafka reads the password of its REST API from a file alone."""
    users = installation.data / "connect" / "rest-users.properties"

    assert users.read_text() == "pipeline=the-connect-password\n"
    assert users.stat().st_mode & 0o777 == 0o600
    assert users in programs["connect"].config_files, "a new password restarts Connect"


def test_configurations_listen_on_loopback_only(
    programs: dict[str, Program], installation: Installation
) -> None:
    kafka = read_variables(installation.data / "kafka" / "server.properties")
    connect = read_variables(installation.data / "connect" / "worker.properties")

    assert kafka["listeners"] == "CLIENTS://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002"
    assert connect["listeners"] == "http://127.0.0.1:20005"
    assert "127.0.0.1:20006" in programs["minio"].command
    assert "127.0.0.1:20007" in programs["minio"].command
    for listener in ("HTTP", "MANAGEMENT"):
        assert programs["registry"].environment[f"QUARKUS_{listener}_HOST"] == "127.0.0.1"
    assert programs["dagster-webserver"].command[1:5] == (
        *("-m", "infra.webserver"),
        *("-h", "127.0.0.1"),
    )


@pytest.mark.parametrize(("sink", "milliseconds"), [("iceberg", "1000"), ("s3", "10000")])
def test_plain_s3_sink_flushes_as_often_as_icebergs_commits(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, sink: str, milliseconds: str
) -> None:
    """It writes a file at each flush of the worker."""
    monkeypatch.setenv("SINK", sink)
    stack_programs(installation)
    written = read_variables(installation.data / "connect" / "worker.properties")
    assert written["offset.flush.interval.ms"] == milliseconds


def test_connect_worker_uses_the_shared_settings(
    programs: dict[str, Program], installation: Installation
) -> None:
    """Only addresses and the plugin directory are this machine's; no shared value is overridden."""
    shared = read_variables(INFRA / "connect" / "worker.properties")
    written = read_variables(installation.data / "connect" / "worker.properties")

    assert shared.items() <= written.items()
    assert written.keys() - shared.keys() == {
        "bootstrap.servers",
        "listeners",
        "rest.advertised.host.name",
        "plugin.path",
    }


def test_start_order_puts_connect_after_its_services_and_the_daemon_last(
    programs: dict[str, Program],
) -> None:
    """A sink that starts before the registry sends good records to the dead-letter topic."""
    assert set(programs["connect"].depends_on) == {"kafka", "minio", "registry"}
    # They start beside the services.
    assert programs["dagster-code-server"].depends_on == ()
    # All create Dagster's tables in a new home, and started at once one of them would fail.
    assert programs["dagster-webserver"].depends_on == ("dagster-code-server",)
    assert programs["dagster-daemon"].depends_on == ("connect", "dagster-webserver")


def test_webserver_and_daemon_ask_one_code_server(
    programs: dict[str, Program], installation: Installation
) -> None:
    workspace = installation.data / "dagster" / "workspace.yaml"
    (location,) = yaml.safe_load(workspace.read_text())["load_from"]

    assert location["grpc_server"] == {
        "host": "127.0.0.1",
        "port": 20009,
        "location_name": "mastodon_pipeline",
    }
    assert programs["dagster-code-server"].command[-4:] == ("-h", "127.0.0.1", "-p", "20009")
    for name in ("dagster-webserver", "dagster-daemon"):
        assert programs[name].command[-2:] == ("-w", str(workspace))


def test_properties_overrides_come_after_the_shared_lines(tmp_path: Path) -> None:
    """If a property is set twice, Java takes the last value."""
    (tmp_path / "shared").write_text("a=1\nb=2")

    written = write_properties(tmp_path / "shared", tmp_path / "new" / "file", {"b": "3"})

    assert written.read_text().splitlines()[:2] == ["a=1", "b=2"]
    assert written.read_text().splitlines()[-1] == "b=3"


def test_program_script_quotes_special_characters(tmp_path: Path) -> None:
    """Spaces, quotes, dollar signs, percent signs and newlines in tokens and paths."""
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

    result = subprocess.run(["sh", "-c", program.script()], capture_output=True, text=True)

    assert result.stdout == awkward + "\n"
    assert result.stderr == ""


def test_initialize_command_runs_until_its_file_exists(tmp_path: Path) -> None:
    """Kafka's storage is formatted whenever the file that formatting creates is missing."""
    made = tmp_path / "made"
    program = Program(
        name="kafka",
        command=("cat", str(made)),
        ready=lambda: True,
        directory=tmp_path,
        initialize=(made, ("sh", "-c", f"echo formatted >> {made}")),
    )

    for _ in range(2):
        result = subprocess.run(["sh", "-c", program.script()], capture_output=True, text=True)
        assert result.stdout == "formatted\n"


def test_changed_config_file_changes_the_script(tmp_path: Path) -> None:
    """So that the next `up` restarts the program."""
    file = tmp_path / "server.properties"
    file.write_text("a=1")
    program = Program("p", ("true",), lambda: True, tmp_path, config_files=(file,))
    before = program.script()

    file.write_text("a=2")

    assert program.script() != before


def test_settings_are_read_from_the_stacks_env_file(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`stack.env` is all that the pipeline needs; only its owner may read it."""
    variables = stack_variables(installation.addresses, installation.ports, {})
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


def test_credentials_are_generated_once_per_stack(installation: Installation) -> None:
    """Two stacks never share them; a stack keeps its own."""
    addresses, ports = installation.addresses, installation.ports
    first = stack_variables(addresses, ports, {})
    second = stack_variables(addresses, ports, {})

    assert first["AWS_SECRET_ACCESS_KEY"] != second["AWS_SECRET_ACCESS_KEY"]
    assert stack_variables(addresses, ports, first) == first


def test_deep_data_directory_gets_a_short_socket_path(tmp_path: Path) -> None:
    """A Unix socket's path is at most 108 bytes long, a checkout's may be longer."""
    deep = tmp_path.joinpath(*["directory"] * 15)

    assert len(str(Supervisor(deep).socket)) < 108
    assert Supervisor(deep).socket != Supervisor(deep / "other").socket


def test_infra_files_name_no_download_host() -> None:
    """Where packages come from is up to the package clients: no mirror, no registry."""
    known = {"127.0.0.1", "0.0.0.0", "maven.apache.org", "www.w3.org", "registry", "minio", "kafka"}
    hosts = {
        (path.name, host)
        for path in INFRA.rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".py")
        for host in re.findall(r"https?://([\w.-]+)", path.read_text())
    }

    assert {(name, host) for name, host in hosts if host not in known} == set()


def test_env_file_is_parsed_as_container_engines_do(tmp_path: Path) -> None:
    """Comments and empty lines are skipped; quotes and equals signs belong to the value."""
    (tmp_path / "some.env").write_text("# A comment\n\nA=1\nB='x'=y\n")

    assert read_variables(tmp_path / "some.env") == {"A": "1", "B": "'x'=y"}


@pytest.mark.parametrize(
    "text", ["/home/\u00dcbung/\u65e5\u672c/\U0001f418", "back\\slash", "plain"]
)
def test_properties_are_read_by_java_as_they_were_written(text: str, tmp_path: Path) -> None:
    """Java reads them as Latin-1 with escapes, which are those of JSON."""
    (tmp_path / "shared").write_text("")
    file = write_properties(tmp_path / "shared", tmp_path / "written", {"log.dirs": text})
    value = file.read_bytes().decode("ascii").splitlines()[-1].removeprefix("log.dirs=")
    assert json.loads(f'"{value}"') == text


@pytest.mark.parametrize("name", ["a,b", "a;b", "a:b", "a%b", "a#b", "a?b", "it's", "a\\b", "a\nb"])
@pytest.mark.parametrize("setting", ["MASTODON_PIPELINE_DATA", "MASTODON_PIPELINE_CACHE"])
def test_path_that_a_program_cannot_use_is_refused_before_anything_is_made(
    name: str, setting: str, tmp_path: Path
) -> None:
    paths = {"MASTODON_PIPELINE_DATA": tmp_path / "d", "MASTODON_PIPELINE_CACHE": tmp_path / "c"}
    paths[setting] = tmp_path / name
    stack = Stack(
        paths["MASTODON_PIPELINE_DATA"], Ports.free(), cache=paths["MASTODON_PIPELINE_CACHE"]
    )
    for command in (stack.up, stack.fetch):
        with pytest.raises(StackError, match=f"set {setting} to a directory without it"):
            command()
    assert not list(tmp_path.iterdir())


def test_clean_leaves_what_the_stack_did_not_make(tmp_path: Path) -> None:
    """Its own directories go, its credentials last; a directory of its own goes too."""
    lines: list[str] = []
    stack = Stack(tmp_path / "data", Ports.free(), say=lines.append)
    for name in ("kafka", "dagster", "photos"):
        (tmp_path / "data" / name).mkdir(parents=True)
    (tmp_path / "data" / "letter.txt").write_text("dear")
    write_stack_env(stack.env_file, {})
    stack.clean()
    assert sorted(path.name for path in stack.data.iterdir()) == ["letter.txt", "photos"]
    assert lines[-1].endswith("stays: letter.txt, photos")
    for path in stack.data.iterdir():
        path.rmdir() if path.is_dir() else path.unlink()
    write_stack_env(stack.env_file, {})
    stack.clean()
    assert not stack.data.exists()


def test_stack_does_not_begin_in_a_directory_with_names_like_its_own(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    with pytest.raises(StackError, match="holds a logs that no stack made"):
        Stack(tmp_path, Ports.free())._prepare_data()
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_program_starts_after_the_command_that_waits_for_what_it_needs(tmp_path: Path) -> None:
    """And not at all, if that command fails."""

    def run(command: str) -> subprocess.CompletedProcess[str]:
        program = Program(
            "late", ("echo", "started"), bool, tmp_path, await_first=("sh", "-c", command)
        )
        return subprocess.run(["sh", "-c", program.script()], capture_output=True, text=True)

    assert run("echo waited").stdout.splitlines() == ["waited", "started"]
    failed = run("exit 3")
    assert (failed.returncode, failed.stdout) == (1, "")


def test_connect_waits_for_the_registry_before_each_start(
    programs: dict[str, Program], installation: Installation
) -> None:
    """Also if supervisord restarts it. Shows G10."""
    *_, module, address = programs["connect"].await_first
    assert module == "infra.native_stack.await_registry"
    assert address == installation.addresses.schema_registry_url
