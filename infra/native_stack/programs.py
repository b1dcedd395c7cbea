"""The services as programs: their configurations and command lines, and all programs' probes."""

import base64
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from infra.native_stack.addresses import NATIVE_HOSTS, Addresses, Hosts, write_private
from infra.native_stack.fetch import INFRA, Artifacts
from infra.native_stack.maven import java_home
from infra.native_stack.ports import LOOPBACK, Ports
from infra.native_stack.probes import (
    Probe,
    dagster_daemons_healthy,
    grpc_serves,
    http_fails,
    http_ok,
    kafka_serves,
)
from infra.native_stack.program import Program
from infra.native_stack.readers import add_reader
from mastodon_pipeline.landing.catalog import sink_variables
from mastodon_pipeline.settings import load_settings

REPOSITORY = INFRA.parent
LOG4J = INFRA / "kafka" / "log4j2.properties"

# A serial collector and the C1 compiler only: start-up time and memory matter more here than the
# last tenth of throughput. And a heap that follows what is in use: by default up to 70 % of it may
# stay empty.
_JAVA_OPTIONS = (
    *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError"),
    *("-XX:MinHeapFreeRatio=10", "-XX:MaxHeapFreeRatio=30"),
)
CONNECT_NEEDS = ("kafka", "minio", "registry")
"""It reads schemas and writes objects as soon as it runs."""
CONNECT_TOPICS = frozenset({"connect-configs", "connect-offsets", "connect-status"})
"""Its own topics, as `worker.properties` names them. It creates them when it starts, only then."""
_SINK_VARIABLES = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    *("SCHEMA_REGISTRY_USERNAME", "SCHEMA_REGISTRY_PASSWORD"),
)
"""What the sink reads from the environment of its worker."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What the programs' configurations are built from."""

    data: Path
    ports: Ports
    addresses: Addresses
    artifacts: Artifacts
    variables: Mapping[str, str]
    """`stack.env`: the credentials of the services, by the names of the settings."""
    hosts: Hosts = NATIVE_HOSTS
    broker_properties: Mapping[str, str] = field(default_factory=dict)
    """Further properties of Kafka's broker: those of one among several."""
    volumes: Path | None = None
    """Where Kafka, MinIO and the registry have their data, if not below `data`."""

    def directory(self, program: str) -> Path:
        """Return where a program that keeps data of its own has it."""
        return (self.volumes or self.data) / program

    def probe(self, program: str) -> Probe:
        """Return a program's readiness probe."""
        return probes(self.ports, self.variables, self.hosts)[program]


def probes(
    ports: Ports, variables: Mapping[str, str], hosts: Hosts = NATIVE_HOSTS
) -> dict[str, Probe]:
    """Return the readiness probe of each program of the stack and of Dagster.

    `variables` is the stack's environment, with its credentials.
    """
    addresses = Addresses.of(ports, hosts)

    def login(service: str) -> tuple[str, str]:
        # A stack of an earlier version that still runs has none.
        return variables.get(f"{service}_USERNAME", ""), variables.get(f"{service}_PASSWORD", "")

    return {
        "kafka": kafka_serves(hosts.kafka, ports.kafka_port),
        "minio": http_ok(f"{addresses.s3_endpoint}/minio/health/ready"),
        "registry": http_ok(f"{addresses.schema_registry_url}/subjects", login("SCHEMA_REGISTRY")),
        # Not `/`, which answers before connectors can be created.
        "connect": http_ok(f"{addresses.kafka_connect_url}/health", login("KAFKA_CONNECT")),
        "dagster-code-server": grpc_serves(
            hosts.code_server, ports.dagster_code_server_port, "DagsterApi"
        ),
        "dagster-webserver": http_ok(f"{addresses.dagster_url}/server_info"),
        "dagster-daemon": dagster_daemons_healthy(addresses.dagster_url),
        "dashboard": http_ok(f"{addresses.dashboard_url}/_stcore/health"),
        "metrics": http_ok(f"http://{LOOPBACK}:{ports.metrics_port}/healthy"),
    }


def stack_programs(stack: Installation) -> list[Program]:
    """Return the four services and the watchdog, and write their configurations."""
    return [*(build(stack) for build in SERVICES.values()), _watchdog(stack)]


def _java(*arguments: str, log4j: bool = True) -> tuple[str, ...]:
    return (
        str(java_home() / "bin" / "java"),
        *_JAVA_OPTIONS,
        *([f"-Dlog4j2.configurationFile={LOG4J}"] if log4j else []),
        *arguments,
    )


def _kafka(stack: Installation) -> Program:
    directory = stack.directory("kafka")
    ports = stack.ports
    properties = write_properties(
        INFRA / "kafka" / "server.properties",
        directory / "server.properties",
        {
            "listeners": f"CLIENTS://{stack.hosts.listen}:{ports.kafka_port},"
            f"CONTROLLER://{LOOPBACK}:{ports.kafka_controller_port}",
            "advertised.listeners": f"CLIENTS://{stack.hosts.kafka}:{ports.kafka_port}",
            "controller.quorum.voters": f"1@{LOOPBACK}:{ports.kafka_controller_port}",
            "log.dirs": str(directory / "log"),
            **stack.broker_properties,
        },
    )
    classes = ("-cp", f"{stack.artifacts.kafka}/*")
    cluster_id = directory / "cluster-id"
    if not cluster_id.exists():
        cluster_id.write_text(base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="))
    format_storage = _java(
        *(*classes, "kafka.tools.StorageTool", "format", "--ignore-formatted"),
        # With `=`: an id may begin with a dash, and would be parsed as an option.
        *(f"--cluster-id={cluster_id.read_text().strip()}", "-c", str(properties)),
    )
    return Program(
        name="kafka",
        command=_java("-Xms96m", "-Xmx256m", *classes, "kafka.Kafka", str(properties)),
        initialize=(directory / "log" / "meta.properties", format_storage),
        ready=stack.probe("kafka"),
        directory=directory,
        config_files=(properties, LOG4J),
        address=stack.addresses.kafka_bootstrap_servers,
        ports=(ports.kafka_port, ports.kafka_controller_port),
        stop_seconds=30,
    )


def _minio(stack: Installation) -> Program:
    directory = stack.directory("minio")
    directory.mkdir(parents=True, exist_ok=True)
    with suppress(PermissionError):  # a mounted directory of somebody else
        directory.chmod(0o700)  # it keeps its users' keys as they are
    ports = stack.ports
    return Program(
        name="minio",
        command=(
            *(str(stack.artifacts.minio), "server", str(directory), "--quiet"),
            *("--address", f"{stack.hosts.listen}:{ports.minio_port}"),
            *("--console-address", f"{stack.hosts.listen}:{ports.minio_console_port}"),
        ),
        ready=stack.probe("minio"),
        directory=directory,
        environment={
            "MINIO_ROOT_USER": stack.variables["AWS_ACCESS_KEY_ID"],
            "MINIO_ROOT_PASSWORD": stack.variables["AWS_SECRET_ACCESS_KEY"],
            # No update checks, no telemetry.
            "MINIO_UPDATE": "off",
            "MINIO_CALLHOME_ENABLE": "off",
            # Go lets its heap double before it collects; near this it collects earlier.
            "GOMEMLIMIT": "192MiB",
        },
        once_ready=lambda: add_reader(stack.variables),
        address=stack.addresses.s3_endpoint,
        ports=(ports.minio_port, ports.minio_console_port),
    )


def _registry(stack: Installation) -> Program:
    directory = stack.directory("registry")
    directory.mkdir(parents=True, exist_ok=True)
    ports = stack.ports
    return Program(
        name="registry",
        command=_java(
            *("-Xms64m", "-Xmx192m", "-jar", f"{stack.artifacts.registry}/quarkus-run.jar"),
            log4j=False,
        ),
        ready=stack.probe("registry"),
        # On a machine that is far too busy it was seen to come up without its tables, for good.
        broken=http_fails(
            f"{stack.addresses.schema_registry_url}/subjects",
            (
                stack.variables["SCHEMA_REGISTRY_USERNAME"],
                stack.variables["SCHEMA_REGISTRY_PASSWORD"],
            ),
        ),
        directory=directory,
        environment={
            **read_variables(INFRA / "registry" / "registry.env"),
            "QUARKUS_SECURITY_USERS_EMBEDDED_USERS_PIPELINE": stack.variables[
                "SCHEMA_REGISTRY_PASSWORD"
            ],
            # H2 delays writes by half a second by default; a registry killed in that time would
            # lose a schema that listeners already write with.
            "APICURIO_DATASOURCE_URL": f"jdbc:h2:file:{directory}/registry;WRITE_DELAY=0",
            "QUARKUS_HTTP_HOST": stack.hosts.listen,
            "QUARKUS_HTTP_PORT": str(ports.registry_port),
            # The default is port 9000, MinIO's, on every network interface.
            "QUARKUS_MANAGEMENT_HOST": LOOPBACK,
            "QUARKUS_MANAGEMENT_PORT": str(ports.registry_management_port),
        },
        address=stack.addresses.schema_registry_url,
        ports=(ports.registry_port, ports.registry_management_port),
    )


def _connect(stack: Installation) -> Program:
    directory = stack.data / "connect"
    properties = write_properties(
        INFRA / "connect" / "worker.properties",
        directory / "worker.properties",
        {
            "bootstrap.servers": stack.addresses.kafka_bootstrap_servers,
            "listeners": f"http://{stack.hosts.listen}:{stack.ports.connect_port}",
            "rest.advertised.host.name": stack.hosts.connect,
            "plugin.path": str(stack.artifacts.plugins),
            # A plain S3 sink writes a file for each of its flushes; Iceberg's has its own rhythm.
            **({"offset.flush.interval.ms": "10000"} if os.environ.get("SINK") == "s3" else {}),
        },
    )
    # Relative to its directory, as the worker's file is.
    jaas, users = directory / "jaas.conf", directory / "rest-users.properties"
    shutil.copyfile(INFRA / "connect" / jaas.name, jaas)
    login = (stack.variables[f"KAFKA_CONNECT_{name}"] for name in ("USERNAME", "PASSWORD"))
    write_private(users, "=".join(map(_escaped, login)) + "\n")
    return Program(
        name="connect",
        command=_java(
            f"-Djava.security.auth.login.config={jaas.name}",
            *("-Xms128m", "-Xmx768m", "-cp", f"{stack.artifacts.kafka}/*"),
            # Relative to its directory: the Iceberg sink finds this file again by splitting the
            # command line at spaces.
            *("org.apache.kafka.connect.cli.ConnectDistributed", properties.name),
        ),
        ready=stack.probe("connect"),
        directory=directory,
        # `depends_on` orders what `up` starts; this holds for a restart after a kill, too.
        await_first=(
            *(sys.executable, "-P", "-m", "infra.native_stack.await_registry"),
            stack.addresses.schema_registry_url,
        ),
        # The sink reads these from the environment, so no connector config holds a secret.
        environment={
            **{name: stack.variables[name] for name in _SINK_VARIABLES},
            **sink_variables(load_settings()),
            "AWS_REGION": stack.addresses.aws_region,
        },
        config_files=(properties, LOG4J, jaas, users),
        address=stack.addresses.kafka_connect_url,
        ports=(stack.ports.connect_port,),
        depends_on=CONNECT_NEEDS,
        stop_seconds=30,
    )


SERVICES: Mapping[str, Callable[[Installation], Program]] = {
    "kafka": _kafka,
    "minio": _minio,
    "registry": _registry,
    "connect": _connect,
}
"""What builds the program of each service, and writes its configuration."""


def _watchdog(stack: Installation) -> Program:
    return Program(
        name="watchdog",
        command=(sys.executable, "-P", "-m", "infra.native_stack.watchdog"),
        ready=lambda: True,
        directory=stack.data,
        environment={"MASTODON_PIPELINE_DATA": str(stack.data)},
        config_files=(stack.data / "stack.env",),  # with the passwords that its probes need
    )


def write_properties(shared: Path, target: Path, overrides: Mapping[str, str]) -> Path:
    """Write a Java properties file: the shared file, then the overrides (the last value wins)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{name}={_escaped(value)}\n" for name, value in overrides.items())
    target.write_text(f"{shared.read_text()}\n# This machine:\n{lines}")
    return target


def _escaped(value: str) -> str:
    # Java reads properties files as Latin-1, with UTF-16 code units as \\uXXXX.
    text = value.replace("\\", "\\\\").encode("utf-16-be")
    units = (int.from_bytes(text[at : at + 2]) for at in range(0, len(text), 2))
    return "".join(chr(unit) if unit < 128 else f"\\u{unit:04x}" for unit in units)


def read_variables(file: Path) -> dict[str, str]:
    """Parse an env file as container engines do: NAME=value, quotes are part of the value."""
    lines = (line.strip() for line in file.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}
