"""The configurations of a native stack that is not started."""

from pathlib import Path

import pytest

from infra.native_stack import Ports, Program
from infra.native_stack.addresses import Addresses
from infra.native_stack.fetch import Artifacts
from infra.native_stack.pipeline_programs import dagster_programs
from infra.native_stack.programs import Installation, stack_programs


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """A stack on the ports 20001 to 20010, with known credentials."""
    ports = Ports(*range(20001, 20011))
    cache = tmp_path / "cache"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "stack.env").touch()
    return Installation(
        data=tmp_path / "data",
        ports=ports,
        addresses=Addresses.of(ports),
        artifacts=Artifacts(cache, cache, cache, cache / "minio"),
        variables={
            "AWS_ACCESS_KEY_ID": "the-access-key",
            "AWS_SECRET_ACCESS_KEY": "the-secret-key",
            "DASHBOARD_ACCESS_KEY_ID": "the-readers-key",
            "DASHBOARD_SECRET_ACCESS_KEY": "the-readers-secret",
            "SCHEMA_REGISTRY_USERNAME": "pipeline",
            "SCHEMA_REGISTRY_PASSWORD": "the-registry-password",
            "KAFKA_CONNECT_USERNAME": "pipeline",
            "KAFKA_CONNECT_PASSWORD": "the-connect-password",
        },
    )


@pytest.fixture
def programs(installation: Installation) -> dict[str, Program]:
    """Its programs by name, with their configurations written."""
    stack, dagster = stack_programs(installation), dagster_programs(installation, {}, ("connect",))
    return {program.name: program for program in [*stack, *dagster]}
