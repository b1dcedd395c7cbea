"""What a container of each role runs: the native stack's programs, on hosts of their own."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import dotenv_values

from infra.containers.health import Check
from infra.containers.run_containers import run_launcher
from infra.native_stack.addresses import Addresses, Hosts, stack_variables, write_stack_env
from infra.native_stack.cache import cache_directory
from infra.native_stack.errors import StackError
from infra.native_stack.fetch import find_artifacts
from infra.native_stack.pipeline_programs import (
    dagster_programs,
    dashboard_program,
    metrics_program,
)
from infra.native_stack.ports import Ports
from infra.native_stack.program import Program
from infra.native_stack.programs import SERVICES, Installation
from infra.native_stack.simulated import SIMULATED_MARK, is_simulated
from mastodon_pipeline.paths import data_directory
from mastodon_pipeline.settings import load_settings

HOSTS = Hosts(
    kafka="kafka",
    minio="minio",
    registry="registry",
    connect="connect",
    code_server="code-server",
    webserver="webserver",
    listen="0.0.0.0",
)
"""The services' names in docker-compose.yml; each container has an address of its own."""
PORTS = Ports(metrics_port=9464)
"""Every container has all ports to itself: what is set in the environment is the host's."""
VOLUMES = Path("/volumes")
"""Below it Kafka, MinIO and the registry have a volume each."""
CONTAINED = Addresses.of(PORTS, HOSTS)
"""The addresses of services that are containers of the Compose file."""
_ADDRESSES = {
    "kafka": "KAFKA_BOOTSTRAP_SERVERS",
    "minio": "S3_ENDPOINT",
    "registry": "SCHEMA_REGISTRY_URL",
}
"""The setting by which a service of one's own takes the place of a container."""


@dataclass(frozen=True, slots=True)
class Role:
    """What a container is for."""

    program: Callable[[Installation], Program]
    check: Callable[[Mapping[str, str]], Check] = lambda _variables: Check()
    """What the engine asks, given the stack's variables."""
    awaits: tuple[str, ...] = ()
    """Programs that should answer first. Where one stays away, this one starts all the same."""

    def containers_awaited(self, variables: Mapping[str, str]) -> list[str]:
        """Return those of `awaits` that are containers here, and not services of one's own."""
        return [name for name in self.awaits if is_contained(name, variables)]


def is_contained(program: str, variables: Mapping[str, str]) -> bool:
    """Return whether a program is a container of the Compose file, by the stack's variables."""
    setting = _ADDRESSES.get(program)
    return setting is None or variables[setting] == getattr(CONTAINED, setting.lower())


def _dagster(number: int, stack: Installation) -> Program:
    # Health checks reach the webserver by its name, browsers by the host's.
    allowed = f"{os.environ.get('DAGSTER_ALLOWED_HOSTS', '')},{HOSTS.webserver}".strip(",")
    environment = {**stack.variables, "DAGSTER_ALLOWED_HOSTS": allowed}
    return dagster_programs(stack, environment, (), run_launcher)[number]


def _simulator(stack: Installation) -> Program:
    settings = stack.data / ".env"
    if not is_simulated(stack.data) and load_settings().servers():
        raise StackError("servers are configured, and real toots must not be mixed with simulated")
    (stack.data / SIMULATED_MARK).touch()
    return Program(
        name="simulator",
        command=(
            *(sys.executable, "-m", "infra.simulator"),
            *("--host", "simulator", "--tokens-file", str(settings)),
        ),
        ready=lambda: True,
        directory=stack.data,
    )


def _http(port: int, path: str) -> Callable[[Mapping[str, str]], Check]:
    return lambda _variables: Check("http", port=port, path=path)


def _registry(variables: Mapping[str, str]) -> Check:
    path, user = "/apis/ccompat/v7/subjects", variables["SCHEMA_REGISTRY_USERNAME"]
    password = variables["SCHEMA_REGISTRY_PASSWORD"]
    return Check("http", port=PORTS.registry_port, path=path, user=user, password=password)


def _connect(variables: Mapping[str, str]) -> Check:
    user, password = (variables[f"KAFKA_CONNECT_{name}"] for name in ("USERNAME", "PASSWORD"))
    kafka = variables["KAFKA_BOOTSTRAP_SERVERS"].split(",")[0]
    needs = (f"kafka://{kafka}", variables["S3_ENDPOINT"], variables["SCHEMA_REGISTRY_URL"])
    return Check(
        "http", "127.0.0.1", PORTS.connect_port, "/health", user, password, tuple(map(_at, needs))
    )


def _at(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


ROLES: Mapping[str, Role] = {
    "kafka": Role(SERVICES["kafka"], lambda _: Check("kafka", port=PORTS.kafka_port)),
    "minio": Role(SERVICES["minio"], _http(PORTS.minio_port, "/minio/health/ready")),
    "registry": Role(SERVICES["registry"], _registry),
    "connect": Role(SERVICES["connect"], _connect, ("kafka", "minio", "registry")),
    "code-server": Role(
        partial(_dagster, 0),
        lambda _: Check("grpc", port=PORTS.dagster_code_server_port, path="DagsterApi"),
    ),
    # All three create Dagster's tables in a new home, and started at once one would fail.
    "webserver": Role(
        partial(_dagster, 1), _http(PORTS.dagster_port, "/server_info"), ("dagster-code-server",)
    ),
    "daemon": Role(
        partial(_dagster, 2),
        lambda _: Check(
            "daemons", HOSTS.webserver, PORTS.dagster_port, needs=((HOSTS.webserver, 3000),)
        ),
        ("dagster-webserver",),
    ),
    "dashboard": Role(
        lambda stack: dashboard_program(stack, stack.variables),
        _http(PORTS.dashboard_port, "/_stcore/health"),
        ("minio",),
    ),
    "metrics": Role(
        lambda stack: metrics_program(stack, stack.variables),
        _http(PORTS.metrics_port, "/healthy"),
        ("dagster-webserver",),
    ),
    "simulator": Role(_simulator, _http(9100, "/status")),
}


def installation(data: Path | None = None, volumes: Path = VOLUMES) -> Installation:
    """Return what the programs are configured from, and write `stack.env` if it has changed.

    Credentials are the environment's, else those of an earlier start, else generated. An address in
    the environment is that of a service of one's own.

    Raises StackError if the image is not complete.
    """
    data = data or data_directory()
    artifacts = find_artifacts(cache_directory())
    if artifacts is None:
        raise StackError(f"{cache_directory()} does not hold the programs: this is no whole image")
    saved = {
        name: value
        for name, value in dotenv_values(data / "stack.env", interpolate=False).items()
        if value is not None
    }
    ports = {name for name, _ in PORTS.variables()}
    variables = stack_variables(CONTAINED, PORTS, saved)
    given = {name: os.environ[name] for name in variables.keys() - ports if os.environ.get(name)}
    variables |= given
    if not is_contained("minio", variables):
        # Nobody makes the dashboard's user there: without one of your own it uses your key.
        readers = ("DASHBOARD_ACCESS_KEY_ID", "DASHBOARD_SECRET_ACCESS_KEY")
        variables |= {name: given.get(name, "") for name in readers}
    if variables != saved:
        write_stack_env(data / "stack.env", variables)
    (data / "lake").mkdir(exist_ok=True)
    return Installation(
        data=data,
        ports=PORTS,
        addresses=addresses_of(variables),
        artifacts=artifacts,
        variables=variables,
        hosts=HOSTS,
        volumes=volumes,
    )


def addresses_of(variables: Mapping[str, str]) -> Addresses:
    """Return the services' addresses as the variables have them."""
    return Addresses(**{name: variables[name.upper()] for name in Addresses.__dataclass_fields__})
