"""The addresses of a stack's services, and the file `stack.env` that holds them."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.native_stack.ports import LOOPBACK, Ports

_HEADER = """\
# Written by the native stack at its start, read by mastodon_pipeline/settings.py.
# It holds the services' credentials, generated on the first start: do not share it.
"""


SERVICE_USER = "pipeline"
"""The user of the registry and of Kafka Connect, which ask for a password: without one, any web
page in a browser of this machine could use them."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts by which the programs reach each other, and the address that each listens on."""

    kafka: str = LOOPBACK
    minio: str = LOOPBACK
    registry: str = LOOPBACK
    connect: str = LOOPBACK
    code_server: str = LOOPBACK
    webserver: str = LOOPBACK
    listen: str = LOOPBACK


NATIVE_HOSTS = Hosts()
"""Everything is on this machine, and reached from nowhere else."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """The address of each service; the fields are named like the settings."""

    kafka_bootstrap_servers: str
    schema_registry_url: str
    connect_registry_url: str
    kafka_connect_url: str
    s3_endpoint: str
    dagster_url: str
    dashboard_url: str
    aws_region: str = "us-east-1"

    @classmethod
    def of(cls, ports: Ports, hosts: Hosts = NATIVE_HOSTS) -> "Addresses":
        """Return the addresses for these ports and hosts."""
        registry = f"http://{hosts.registry}:{ports.registry_port}/apis"
        return cls(
            kafka_bootstrap_servers=f"{hosts.kafka}:{ports.kafka_port}",
            schema_registry_url=f"{registry}/ccompat/v7",
            connect_registry_url=f"{registry}/registry/v2",
            kafka_connect_url=f"http://{hosts.connect}:{ports.connect_port}",
            s3_endpoint=f"http://{hosts.minio}:{ports.minio_port}",
            dagster_url=f"http://{hosts.webserver}:{ports.dagster_port}",
            dashboard_url=f"http://{LOOPBACK}:{ports.dashboard_port}",
        )


def stack_variables(
    addresses: Addresses, ports: Ports, previous: Mapping[str, str]
) -> dict[str, str]:
    """Return the stack's environment: addresses, ports, the services' credentials, and the salt.

    Credentials and salt are those of `previous`, an earlier environment of the same stack, or
    generated if it has none.
    """
    return {
        "KAFKA_BOOTSTRAP_SERVERS": addresses.kafka_bootstrap_servers,
        "SCHEMA_REGISTRY_URL": addresses.schema_registry_url,
        "CONNECT_REGISTRY_URL": addresses.connect_registry_url,
        "KAFKA_CONNECT_URL": addresses.kafka_connect_url,
        "S3_ENDPOINT": addresses.s3_endpoint,
        "DAGSTER_URL": addresses.dagster_url,
        "DASHBOARD_URL": addresses.dashboard_url,
        "AWS_REGION": addresses.aws_region,
        "AWS_ACCESS_KEY_ID": previous.get("AWS_ACCESS_KEY_ID") or f"stack{secrets.token_hex(8)}",
        "AWS_SECRET_ACCESS_KEY": previous.get("AWS_SECRET_ACCESS_KEY") or secrets.token_hex(24),
        # They only read, see `readers.py`.
        "DASHBOARD_ACCESS_KEY_ID": previous.get("DASHBOARD_ACCESS_KEY_ID")
        or f"reader{secrets.token_hex(7)}",
        "DASHBOARD_SECRET_ACCESS_KEY": previous.get("DASHBOARD_SECRET_ACCESS_KEY")
        or secrets.token_hex(20),
        **{
            f"{service}_{name}": value
            for service in ("SCHEMA_REGISTRY", "KAFKA_CONNECT")
            for name, value in (
                ("USERNAME", SERVICE_USER),
                ("PASSWORD", previous.get(f"{service}_PASSWORD") or secrets.token_hex(24)),
            )
        },
        "PERSON_SALT": previous.get("PERSON_SALT") or secrets.token_hex(32),
        **{name: str(port) for name, port in ports.variables()},
    }


def write_private(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file atomically, with permissions for its owner only."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    partial.rename(path)


def write_stack_env(path: Path, variables: Mapping[str, str]) -> None:
    """Write `stack.env`, mode 0600."""
    lines = "".join(f"{name}={value}\n" for name, value in variables.items())
    write_private(path, _HEADER + lines)


def is_stack_env(path: Path) -> bool:
    """Return whether the file was written by a native stack."""
    try:
        return path.read_text().startswith(_HEADER.splitlines()[0])
    except (OSError, UnicodeDecodeError):
        return False
