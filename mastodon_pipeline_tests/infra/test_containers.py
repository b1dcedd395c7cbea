"""The container files: valid, without secrets, and configured like the native stack."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for

from infra.native_stack import Ports, Program
from infra.native_stack.addresses import Addresses
from infra.native_stack.fetch import INFRA
from infra.native_stack.programs import Installation, read_variables
from mastodon_pipeline.settings import Settings

COMPOSE = INFRA / "docker-compose.yml"
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
    """The instructions of Connect's Dockerfile, each as a list of words."""
    text = (INFRA / "connect" / "Dockerfile").read_text().replace("\\\n", " ")
    return [shlex.split(line) for line in text.splitlines() if line and not line.startswith("#")]


def pinned_version(pom: str, name: str) -> str:
    """Return a version that a pom pins in its properties."""
    root = ElementTree.parse(INFRA / pom / "pom.xml").getroot()
    return root.findtext(f".//{{*}}properties/{{*}}{name}") or pytest.fail(f"no {name} in {pom}")


def expand(value: str) -> str:
    """Replace `${NAME:-default}` by its default."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def kafka_properties(environment: Mapping[str, str]) -> dict[str, str]:
    """Translate environment variables to broker properties as Kafka's image does."""
    options = {"KAFKA_HEAP_OPTS", "KAFKA_LOG4J_OPTS"}
    return {
        name.removeprefix("KAFKA_").lower().replace("_", "."): expand(value)
        for name, value in environment.items()
        if name not in options
    }


def heap(words: str | tuple[str, ...]) -> set[str]:
    """Return the JVM's heap options: `-Xms96m`, `-Xmx256m`."""
    text = words if isinstance(words, str) else " ".join(words)
    return set(re.findall(r"-Xm[sx]\w+", text))


def dockerfile_environment(dockerfile: list[list[str]]) -> dict[str, str]:
    pairs = (word.partition("=") for line in dockerfile if line[0] == "ENV" for word in line[1:])
    return {name: value for name, _, value in pairs}


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
        env={
            "PATH": "/usr/bin:/bin",
            "AWS_ACCESS_KEY_ID": "some-key",
            "AWS_SECRET_ACCESS_KEY": "k" * 8,
            "SCHEMA_REGISTRY_PASSWORD": "some-password",
            "KAFKA_CONNECT_PASSWORD": "some-password",
        },
        capture_output=True,
        text=True,
    )

    assert result.returncode == 0, result.stderr


def test_every_image_is_pinned_to_a_version(
    services: dict[str, Service], dockerfile: list[list[str]]
) -> None:
    images = [service["image"] for service in services.values()]
    images += [line[1] for line in dockerfile if line[0] == "FROM"]

    assert all(re.search(r":[^:]*\d", image) and "latest" not in image for image in images)


def test_containers_run_the_versions_of_the_native_stack(
    services: dict[str, Service], dockerfile: list[list[str]]
) -> None:
    kafka = f"apache/kafka:{pinned_version('kafka', 'kafka.version')}"
    bases = [line[1] for line in dockerfile if line[0] == "FROM"]

    assert services["kafka"]["image"] == kafka
    assert bases[-1] == kafka
    registry = pinned_version("registry", "apicurio.version")
    assert services["registry"]["image"].endswith(f":{registry}")
    assert pinned_version("connect", "iceberg.version") in services["connect"]["image"]


def test_files_that_the_containers_use_exist(
    services: dict[str, Service], dockerfile: list[list[str]]
) -> None:
    """Docker would create a directory in place of a missing file that is mounted."""
    mounted = [
        volume.split(":")[0]
        for service in services.values()
        for volume in service["volumes"]
        if volume.startswith("./")
    ]
    env_files = [service["env_file"] for service in services.values() if "env_file" in service]
    copied = [
        path
        for line in dockerfile
        if line[0] == "COPY" and not line[1].startswith("--from")
        for path in line[1:-1]
    ]

    assert all((INFRA / path).is_file() for path in [*mounted, *env_files, *copied])
    build = services["connect"]["build"]
    assert (INFRA / build["context"] / build["dockerfile"]).is_file()


def test_the_kafka_container_sets_what_the_native_broker_sets(
    services: dict[str, Service], programs: dict[str, Program], installation: Installation
) -> None:
    """Same properties with the same values, except for addresses and the data directory."""
    kafka = services["kafka"]
    native = read_variables(installation.data / "kafka" / "server.properties")
    overrides = kafka_properties(kafka["environment"])
    container = {**read_variables(INFRA / "kafka" / "server.properties"), **overrides}

    assert container.keys() == native.keys()
    assert {name for name in native if container[name] != native[name]} == overrides.keys()
    listeners = {part.split("://")[0] for part in container["listeners"].split(",")}
    security = dict(
        part.split(":") for part in container["listener.security.protocol.map"].split(",")
    )
    assert listeners <= security.keys()
    assert heap(kafka["environment"]["KAFKA_HEAP_OPTS"]) == heap(programs["kafka"].command)
    targets = [volume.split(":")[1] for volume in kafka["volumes"]]
    assert overrides["log.dirs"] in targets
    assert kafka["environment"]["KAFKA_LOG4J_OPTS"].partition("=")[2] in targets


def test_the_minio_container_has_the_native_environment(
    services: dict[str, Service], programs: dict[str, Program]
) -> None:
    container, native = services["minio"]["environment"], programs["minio"].environment
    secrets = {"MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"}

    assert container.keys() == native.keys()
    assert all(container[name] == native[name] for name in native.keys() - secrets)


def test_the_registry_container_stores_schemas_like_the_native_one(
    services: dict[str, Service], programs: dict[str, Program]
) -> None:
    """Same storage and rules; a killed registry must not lose a schema in the container either."""
    registry, native = services["registry"], programs["registry"]
    container = read_variables(INFRA / registry["env_file"]) | registry["environment"]
    url, native_url = (
        urlsplit(environment.pop("APICURIO_DATASOURCE_URL").removeprefix("jdbc:h2:"))
        for environment in (container, dict(native.environment))
    )

    assert url.path.partition(";")[2] == native_url.path.partition(";")[2] == "WRITE_DELAY=0"
    assert str(Path(url.path).parent) in [v.split(":")[1] for v in registry["volumes"]]
    assert heap(container.pop("JAVA_OPTS_APPEND")) == heap(native.command)
    addresses = re.compile("QUARKUS_(HTTP|MANAGEMENT)_(HOST|PORT)|APICURIO_DATASOURCE_URL")
    password = "QUARKUS_SECURITY_USERS_EMBEDDED_USERS_PIPELINE"
    assert container.pop(password).startswith("${SCHEMA_REGISTRY_PASSWORD:?")
    shared = {k: v for k, v in native.environment.items() if not addresses.fullmatch(k)}
    assert shared.pop(password) == "the-registry-password"
    assert container == shared


def test_the_connect_container_sets_what_the_native_worker_sets(
    services: dict[str, Service],
    dockerfile: list[list[str]],
    programs: dict[str, Program],
    installation: Installation,
) -> None:
    """The shared properties unchanged, and the same ones added; same heap, same environment."""
    shared = read_variables(INFRA / "connect" / "worker.properties")
    added = read_variables(INFRA / "connect" / "container.properties")
    native = read_variables(installation.data / "connect" / "worker.properties")

    assert not added.keys() & shared.keys()
    assert (shared | added).keys() == native.keys()
    copies = [line for line in dockerfile if line[0] == "COPY"]
    configurations = ("worker.properties", "container.properties", "jaas.conf")
    assert {f"connect/{name}" for name in configurations} <= set(copies[-1])
    assert added["plugin.path"] in [line[-1] for line in copies]
    environment = dockerfile_environment(dockerfile)
    assert heap(environment["KAFKA_HEAP_OPTS"]) == heap(programs["connect"].command)
    variables = services["connect"]["environment"].keys()
    # The native worker's file of users is written by the stack, the container's when it starts.
    assert variables - {"KAFKA_CONNECT_PASSWORD"} == programs["connect"].environment.keys()
    login = "-Djava.security.auth.login.config="
    assert f"{login}jaas.conf" in programs["connect"].command
    assert environment["KAFKA_OPTS"] == f"{login}/opt/connect/jaas.conf"
    region = expand(services["connect"]["environment"]["AWS_REGION"])
    assert region == Addresses.of(Ports()).aws_region
    assert set(services["connect"]["depends_on"]) == set(programs["connect"].depends_on)


def test_connect_container_starts_once_the_registry_answers(
    tmp_path: Path, services: dict[str, Service], dockerfile: list[list[str]]
) -> None:
    """Also where it is restarted: `depends_on` holds for `up` alone. Shows G10."""
    copied = {line[-1] + Path(path).name: path for line in dockerfile for path in line[1:-1]}
    command = next(line for line in dockerfile if line[0] == "CMD")
    script = (INFRA / copied[command[-1].strip('[]",')]).read_text()
    server = "/opt/kafka/bin/connect-distributed.sh"
    stub = tmp_path / "wget"
    stub.write_text('#!/bin/sh\necho "$@" >> "$0.asked"; [ $(wc -l < "$0.asked") -gt 2 ]\n')
    (tmp_path / "sleep").write_text("#!/bin/sh\n")
    for name in ("wget", "sleep"):
        (tmp_path / name).chmod(0o700)
    result = subprocess.run(
        ["sh", "-c", script.replace(server, "echo started with")],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "KAFKA_CONNECT_PASSWORD": "sesame"},
        capture_output=True,
        text=True,
    )
    asked = (tmp_path / "wget.asked").read_text().splitlines()
    assert len(asked) == 3
    address = urlsplit(asked[0].split()[-1])
    assert address.hostname in services
    assert asked[0].split()[-1] in services["registry"]["healthcheck"]["test"][1].replace(
        "127.0.0.1", str(address.hostname)
    )
    assert (tmp_path / "rest-users.properties").read_text() == "pipeline=sesame\n"
    assert result.stdout.splitlines()[-1] == "started with /opt/connect/connect.properties"


def test_containers_publish_the_native_stacks_ports_on_loopback_only(
    services: dict[str, Service],
) -> None:
    """A port without an address would be open to the network; defaults are those of `Ports`."""
    published = [port for service in services.values() for port in service["ports"]]
    names = dict(Ports().variables())

    variables = []
    for port in published:
        match = re.fullmatch(r"127\.0\.0\.1:\$\{(\w+):-(\d+)\}:\d+", port)
        assert match, port
        assert names[match[1]] == int(match[2])
        variables.append(match[1])
    internal = {
        *("KAFKA_CONTROLLER_PORT", "REGISTRY_MANAGEMENT_PORT"),
        *("DAGSTER_PORT", "DAGSTER_CODE_SERVER_PORT"),
    }
    assert set(variables) == names.keys() - internal


def test_the_pipelines_default_settings_reach_the_containers() -> None:
    addresses = asdict(Addresses.of(Ports()))
    del addresses["dagster_url"]  # not a setting

    assert {name: Settings.model_fields[name].default for name in addresses} == addresses


def test_addresses_between_containers_name_services_and_their_ports(
    services: dict[str, Service],
) -> None:
    """In Connect's properties, and in the variables that the file's head tells people to export."""
    exported = dict(re.findall(r"^#\s+export (CONNECT_\w+)=(\S+)$", COMPOSE.read_text(), re.M))
    assert exported.keys() == {"CONNECT_REGISTRY_URL", "CONNECT_S3_ENDPOINT"}
    container = read_variables(INFRA / "connect" / "container.properties")
    listeners = kafka_properties(services["kafka"]["environment"])["listeners"]
    inside = {int(port.rpartition(":")[2]) for port in listeners.split(",")}

    kafka = urlsplit(f"//{container['bootstrap.servers']}")
    assert (kafka.hostname in services, kafka.port in inside) == (True, True)
    for url in map(urlsplit, exported.values()):
        assert url.hostname in services
        ports = [port.rpartition(":")[2] for port in services[url.hostname]["ports"]]
        assert str(url.port) in ports


def test_no_credential_is_in_the_compose_file(services: dict[str, Service]) -> None:
    """They come from the environment, and a missing one is an error that says so."""
    secrets = [
        value
        for service in services.values()
        for name, value in service.get("environment", {}).items()
        if re.search("SECRET|PASSWORD|ACCESS_KEY|ROOT_USER|USERS_", name)
    ]

    assert len(secrets) == 7
    assert all(re.fullmatch(r"\$\{[A-Z0-9_]+:\?.+\}", value) for value in secrets)


def test_every_container_is_checked_restarted_and_keeps_its_data(
    compose: dict[str, Any], services: dict[str, Service], programs: dict[str, Program]
) -> None:
    """Health checks, restarts and bounded logs; a named volume for what must survive."""
    native_only = {"dagster-code-server", "dagster-webserver", "dagster-daemon", "watchdog"}
    assert services.keys() == programs.keys() - native_only
    for service in services.values():
        assert service["restart"] == "unless-stopped"
        assert "healthcheck" in service
        assert {"max-size", "max-file"} <= service["logging"]["options"].keys()
        volumes = [volume.split(":")[0] for volume in service["volumes"]]
        assert set(volumes) & compose["volumes"].keys()
