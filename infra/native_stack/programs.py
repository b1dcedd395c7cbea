"""The stack's own programs: their configurations, command lines and probes."""

import base64
import os
import shutil
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.native_stack.addresses import Addresses
from infra.native_stack.fetch import INFRA, Artifacts
from infra.native_stack.maven import java_home
from infra.native_stack.ports import LOOPBACK, Ports
from infra.native_stack.probes import (
    Probe,
    dagster_daemons_healthy,
    ensure_topic,
    http_ok,
    kafka_serves,
)
from infra.native_stack.program import Program
from mastodon_pipeline.landing.connector_config import CONTROL_TOPIC

REPOSITORY = INFRA.parent
LOG4J = INFRA / "kafka" / "log4j2.properties"

# One small collector thread and the quick compiler: start-up and memory count more here than
# the last tenth of throughput.
_JAVA_OPTIONS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError")
# Those that say nothing of a program's behaviour, only of the terminal it was started from.
_TERMINAL_VARIABLES = frozenset(
    [
        *("_", "SHLVL", "PWD", "OLDPWD", "TERM", "COLORTERM", "WINDOWID", "COLUMNS", "LINES"),
        *("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKE_TERMERR", "MAKE_TERMOUT"),
        *("PYTEST_CURRENT_TEST", "PYTEST_VERSION"),
    ]
)


@dataclass(frozen=True, slots=True)
class Installation:
    """All that the programs' configurations are made from."""

    data: Path
    ports: Ports
    addresses: Addresses
    artifacts: Artifacts
    access_key: str
    secret_key: str


def probes(ports: Ports) -> dict[str, Probe]:
    """How to see, of each program of the stack and of Dagster, whether it answers."""
    addresses = Addresses.of(ports)
    return {
        "kafka": kafka_serves(LOOPBACK, ports.kafka_port),
        "minio": http_ok(f"{addresses.s3_endpoint}/minio/health/ready"),
        "registry": http_ok(f"{addresses.schema_registry_url}/subjects"),
        # Not `/`, which answers before connectors can be put.
        "connect": http_ok(f"{addresses.kafka_connect_url}/health"),
        "dagster-webserver": http_ok(f"{addresses.dagster_url}/server_info"),
        "dagster-daemon": dagster_daemons_healthy(addresses.dagster_url),
    }


def stack_programs(stack: Installation) -> list[Program]:
    """Kafka, MinIO, the registry and Kafka Connect, with their configurations written."""
    return [_kafka(stack), _minio(stack), _registry(stack), _connect(stack)]


def dagster_programs(
    stack: Installation, environment: Mapping[str, str], after: tuple[str, ...]
) -> list[Program]:
    """Dagster's webserver and daemon, each on its own: one's death does not take the other down.

    `environment` is the stack's; the caller's own (servers, tokens) stands below it.
    """
    home = stack.data / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(INFRA / "dagster" / "dagster.yaml", home / "dagster.yaml")
    inherited = {k: v for k, v in os.environ.items() if k not in _TERMINAL_VARIABLES}
    variables = {**inherited, **environment, "DAGSTER_HOME": str(home)}
    # Dagster and the code servers it starts look for their commands on PATH.
    programs = Path(sys.executable).parent
    variables["PATH"] = f"{programs}{os.pathsep}{variables.get('PATH', os.defpath)}"
    port, url = stack.ports.dagster_port, stack.addresses.dagster_url
    workspace = ("-w", str(REPOSITORY / "workspace.yaml"))
    webserver = Program(
        name="dagster-webserver",
        command=(
            str(programs / "dagster-webserver"),
            *("-h", LOOPBACK, "-p", str(port)),
            *workspace,
        ),
        ready=probes(stack.ports)["dagster-webserver"],
        directory=REPOSITORY,
        environment=variables,
        reads=(home / "dagster.yaml",),
        address=url,
        ports=(port,),
        after=after,
        stop_seconds=30,
    )
    daemon = Program(
        name="dagster-daemon",
        command=(str(programs / "dagster-daemon"), "run", *workspace),
        ready=probes(stack.ports)["dagster-daemon"],
        directory=REPOSITORY,
        environment=variables,
        reads=(home / "dagster.yaml",),
        # Both would make Dagster's tables in a new home, and one fail at the other's.
        after=(*after, webserver.name),
        # Its runs get the signal too: a listener hands over what it holds, then ends.
        stop_seconds=60,
    )
    return [webserver, daemon]


def _java(*arguments: str, log4j: bool = True) -> tuple[str, ...]:
    return (
        str(java_home() / "bin" / "java"),
        *_JAVA_OPTIONS,
        *([f"-Dlog4j2.configurationFile={LOG4J}"] if log4j else []),
        *arguments,
    )


def _kafka(stack: Installation) -> Program:
    directory = stack.data / "kafka"
    ports = stack.ports
    properties = write_properties(
        INFRA / "kafka" / "server.properties",
        directory / "server.properties",
        {
            "listeners": f"CLIENTS://{LOOPBACK}:{ports.kafka_port},"
            f"CONTROLLER://{LOOPBACK}:{ports.kafka_controller_port}",
            "advertised.listeners": f"CLIENTS://{LOOPBACK}:{ports.kafka_port}",
            "controller.quorum.voters": f"1@{LOOPBACK}:{ports.kafka_controller_port}",
            "log.dirs": str(directory / "log"),
        },
    )
    classes = ("-cp", f"{stack.artifacts.kafka}/*")
    identity = directory / "cluster-id"
    if not identity.exists():
        identity.write_text(base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="))
    format_storage = _java(
        *(*classes, "kafka.tools.StorageTool", "format", "--ignore-formatted"),
        # One word: an id may begin with a dash, which alone would pass for an option.
        *(f"--cluster-id={identity.read_text().strip()}", "-c", str(properties)),
    )
    return Program(
        name="kafka",
        command=_java("-Xms96m", "-Xmx256m", *classes, "kafka.Kafka", str(properties)),
        first=(directory / "log" / "meta.properties", format_storage),
        ready=probes(ports)["kafka"],
        directory=directory,
        reads=(properties, LOG4J),
        address=stack.addresses.kafka_bootstrap_servers,
        ports=(ports.kafka_port, ports.kafka_controller_port),
        prepare=lambda: ensure_topic(stack.addresses.kafka_bootstrap_servers, CONTROL_TOPIC),
        stop_seconds=30,
    )


def _minio(stack: Installation) -> Program:
    directory = stack.data / "minio"
    directory.mkdir(parents=True, exist_ok=True)
    ports = stack.ports
    return Program(
        name="minio",
        command=(
            *(str(stack.artifacts.minio), "server", str(directory), "--quiet"),
            *("--address", f"{LOOPBACK}:{ports.minio_port}"),
            *("--console-address", f"{LOOPBACK}:{ports.minio_console_port}"),
        ),
        ready=probes(ports)["minio"],
        directory=directory,
        environment={
            "MINIO_ROOT_USER": stack.access_key,
            "MINIO_ROOT_PASSWORD": stack.secret_key,
            # It neither looks for updates nor reports itself.
            "MINIO_UPDATE": "off",
            "MINIO_CALLHOME_ENABLE": "off",
        },
        address=stack.addresses.s3_endpoint,
        ports=(ports.minio_port, ports.minio_console_port),
    )


def _registry(stack: Installation) -> Program:
    directory = stack.data / "registry"
    directory.mkdir(parents=True, exist_ok=True)
    ports = stack.ports
    return Program(
        name="registry",
        command=_java(
            *("-Xms64m", "-Xmx192m", "-jar", f"{stack.artifacts.registry}/quarkus-run.jar"),
            log4j=False,
        ),
        ready=probes(ports)["registry"],
        directory=directory,
        environment={
            **read_variables(INFRA / "registry" / "registry.env"),
            # Without the delay of half a second in which a killed registry would lose a schema
            # that listeners already write with.
            "APICURIO_DATASOURCE_URL": f"jdbc:h2:file:{directory}/registry;WRITE_DELAY=0",
            "QUARKUS_HTTP_HOST": LOOPBACK,
            "QUARKUS_HTTP_PORT": str(ports.registry_port),
            # Unset, it would listen on MinIO's port of every network interface.
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
            "listeners": stack.addresses.kafka_connect_url,
            "rest.advertised.host.name": LOOPBACK,
            "plugin.path": str(stack.artifacts.plugins),
        },
    )
    return Program(
        name="connect",
        command=_java(
            *("-Xms128m", "-Xmx768m", "-cp", f"{stack.artifacts.kafka}/*"),
            *("org.apache.kafka.connect.cli.ConnectDistributed", str(properties)),
        ),
        ready=probes(stack.ports)["connect"],
        directory=directory,
        # The sink finds these by itself, so no connector's config holds a secret.
        environment={
            "AWS_ACCESS_KEY_ID": stack.access_key,
            "AWS_SECRET_ACCESS_KEY": stack.secret_key,
            "AWS_REGION": stack.addresses.aws_region,
        },
        reads=(properties, LOG4J),
        address=stack.addresses.kafka_connect_url,
        ports=(stack.ports.connect_port,),
        # It reads schemas and writes objects from its first second on.
        after=("kafka", "minio", "registry"),
        stop_seconds=30,
    )


def write_properties(shared: Path, written: Path, own: Mapping[str, str]) -> Path:
    """A Java properties file: the shared one, and below it, where they win, our own lines."""
    written.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{name}={value}\n" for name, value in own.items())
    written.write_text(f"{shared.read_text()}\n# Of this machine:\n{lines}")
    return written


def read_variables(file: Path) -> dict[str, str]:
    """The variables of an env file, as container engines read it: NAME=value, no quotes."""
    lines = (line.strip() for line in file.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}
