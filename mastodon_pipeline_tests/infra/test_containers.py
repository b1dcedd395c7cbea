"""The container way: valid, without secrets, and the same things as the native stack."""

import json
import re
import shutil
import subprocess
from importlib.resources import files
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for

from infra.native_stack.fetch import INFRA
from mastodon_pipeline.landing.connector_config import CONTROL_TOPIC

COMPOSE = INFRA / "docker-compose.yml"
DOCKERFILE = INFRA / "connect" / "Dockerfile"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return services


def version(pom: str, name: str) -> str:
    """A version that a pom pins in its properties."""
    found = re.search(rf"<{re.escape(name)}>(.*)</", (INFRA / pom / "pom.xml").read_text())
    assert found is not None
    return found[1]


def properties(*parts: str) -> dict[str, str]:
    lines = INFRA.joinpath(*parts).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_it_keeps_the_compose_specification() -> None:
    """Checked against the specification's own schema, as `check-jsonschema` carries it."""
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    rules = json.loads(schema.read_text())
    validator = validator_for(rules, default=Draft202012Validator)(rules)

    assert [
        error.message for error in validator.iter_errors(yaml.safe_load(COMPOSE.read_text()))
    ] == []


def test_docker_itself_accepts_it() -> None:
    """Where Docker's compose plugin exists it has the last word."""
    docker = shutil.which("docker")
    if (
        docker is None
        or subprocess.run([docker, "compose", "version"], capture_output=True).returncode
    ):
        pytest.skip("no docker compose here; the schema test above stands in")
    told = subprocess.run(
        [docker, "compose", "-f", str(COMPOSE), "config", "--quiet"],
        env={
            "PATH": "/usr/bin:/bin",
            "AWS_ACCESS_KEY_ID": "some-key",
            "AWS_SECRET_ACCESS_KEY": "k" * 8,
        },
        capture_output=True,
        text=True,
    )

    assert told.returncode == 0, told.stderr


def test_every_image_is_pinned(services: dict[str, Any]) -> None:
    """No `latest`, in the Dockerfile neither."""
    images = [service["image"] for service in services.values()]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE)

    assert all(re.search(r":[^:]*\d", image) and "latest" not in image for image in images)


def test_versions_are_the_native_stacks(services: dict[str, Any]) -> None:
    """One tested set of versions, in the poms."""
    kafka = f"apache/kafka:{version('kafka', 'kafka.version')}"

    assert services["kafka"]["image"] == services["topics"]["image"] == kafka
    assert f"FROM {kafka}\n" in DOCKERFILE.read_text()
    assert services["registry"]["image"].endswith(f":{version('registry', 'apicurio.version')}")
    assert version("connect", "iceberg.version") in services["connect"]["image"]
    assert "COPY connect/pom.xml" in DOCKERFILE.read_text()


def test_the_same_configurations_are_used(services: dict[str, Any]) -> None:
    """The very files that the native stack reads, and nothing in them is overruled silently."""
    mounted = "\n".join(services["kafka"]["volumes"])
    container = properties("connect", "container.properties")

    assert "./kafka/server.properties:" in mounted
    assert "./kafka/log4j2.properties:" in mounted
    assert services["registry"]["env_file"] == "registry/registry.env"
    assert "connect/worker.properties" in DOCKERFILE.read_text()
    assert not container.keys() & properties("connect", "worker.properties").keys()
    assert f"--topic={CONTROL_TOPIC}" in services["topics"]["command"]


def test_everything_is_reachable_from_this_machine_only(services: dict[str, Any]) -> None:
    """A port without an address would be open to the network."""
    ports = [port for service in services.values() for port in service.get("ports", [])]

    assert len(ports) == 5
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_no_credential_is_written_down(services: dict[str, Any]) -> None:
    """They come from the environment, and their absence is an error that says so."""
    secrets = [
        value
        for service in services.values()
        for name, value in service.get("environment", {}).items()
        if re.search("SECRET|PASSWORD|ACCESS_KEY|ROOT_USER", name)
    ]

    assert len(secrets) == 4
    assert all(re.fullmatch(r"\$\{AWS_[A-Z_]+:\?.+\}", value) for value in secrets)


def test_what_lasts_is_healthy_restarted_and_kept(services: dict[str, Any]) -> None:
    """Health checks and restarts for services, named volumes for what must survive."""
    lasting = {name: one for name, one in services.items() if one["restart"] != "no"}
    volumes = {
        volume.split(":")[0]
        for service in lasting.values()
        for volume in service["volumes"]
        if not volume.startswith("./")
    }

    assert set(lasting) == {"kafka", "minio", "registry", "connect"}
    assert all("healthcheck" in service for service in lasting.values())
    assert volumes == set(yaml.safe_load(COMPOSE.read_text())["volumes"])
