"""The real services over TLS with a private authority, and with passwords, on loopback.

Each is configured as its own documentation says, and the pipeline by its settings alone.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import requests
from confluent_kafka.admin import AdminClient
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    NoEncryption,
    load_pem_private_key,
    pkcs12,
)

from infra.native_stack.addresses import Addresses, stack_variables, write_private, write_stack_env
from infra.native_stack.cache import cache_directory
from infra.native_stack.fetch import fetch
from infra.native_stack.ports import Ports
from infra.native_stack.program import Program
from infra.native_stack.programs import Installation, stack_programs
from infra.native_stack.starting import start_in_order
from infra.native_stack.supervision import Supervisor
from mastodon_pipeline_tests.support.certificates import Authority

_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required"
_USER = "pipeline"


@dataclass(frozen=True)
class SecureStack:
    """A running stack."""

    data: Path
    authority: Authority
    variables: dict[str, str]
    """What a person sets to reach it."""


@contextmanager
def secure_stack() -> Iterator[SecureStack]:
    """Run Kafka, MinIO, the registry and Kafka Connect over TLS; remove them at the end.

    The environment has the settings meanwhile.
    """
    data = Path(tempfile.mkdtemp(prefix="secure-stack-"))
    previous = dict(os.environ)
    supervisor = Supervisor(data)
    try:
        stack, programs = _configure(data)
        os.environ.update(stack.variables)
        supervisor.launch()
        supervisor.configure(programs)
        start_in_order(supervisor, programs, {each.name for each in programs}, print, lambda: None)
        yield stack
    finally:
        supervisor.shutdown()
        os.environ.clear()
        os.environ.update(previous)
        shutil.rmtree(data)


def _configure(data: Path) -> tuple[SecureStack, list[Program]]:
    ports, authority = Ports.free(), Authority(data / "authority")
    plain = Addresses.of(ports)
    https = {name: value.replace("http://", "https://") for name, value in vars_of(plain).items()}
    addresses = Addresses(**{**https, "dagster_url": plain.dagster_url})
    password = secrets.token_hex(12)
    variables = {
        **stack_variables(addresses, ports, {}),
        "MASTODON_PIPELINE_DATA": str(data),
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_SASL_USERNAME": _USER,
        "KAFKA_SASL_PASSWORD": password,
        "SERVICES_CA_FILE": str(authority.file),
    }
    for name in ("lake", "logs"):
        (data / name).mkdir()
    write_stack_env(data / "stack.env", variables)
    installation = Installation(
        data=data,
        ports=ports,
        addresses=addresses,
        artifacts=fetch(cache_directory(), print, lambda: None),
        variables=variables,
    )
    stack = SecureStack(data, authority, variables)
    secured = {
        "kafka": _kafka,
        "minio": _minio,
        "registry": _registry,
        "connect": _connect,
    }
    programs = [
        secured[program.name](program, stack)
        for program in stack_programs(installation)
        if program.name in secured
    ]
    return stack, programs


def vars_of(addresses: Addresses) -> dict[str, str]:
    """Return the addresses by their names."""
    return {name: getattr(addresses, name) for name in addresses.__dataclass_fields__}


def _kafka(program: Program, stack: SecureStack) -> Program:
    password = stack.variables["KAFKA_SASL_PASSWORD"]
    chain, key = stack.authority.issue("kafka")
    _append(
        program.config_files[0],
        {
            "listener.security.protocol.map": "CLIENTS:SASL_SSL,CONTROLLER:PLAINTEXT",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
            "listener.name.clients.scram-sha-512.sasl.jaas.config": (
                f'{_LOGIN} username="{_USER}" password="{password}";'
            ),
            **_key_store("", _pem(stack, chain, key)),
            **_trust_store("", stack),
        },
    )
    assert program.initialize is not None
    path, command = program.initialize
    user = f"SCRAM-SHA-512=[name={_USER},password={password}]"

    def serves() -> bool:
        names = ("SECURITY_PROTOCOL", "SASL_MECHANISM", "SASL_USERNAME", "SASL_PASSWORD")
        properties = {
            name.lower().replace("_", "."): stack.variables[f"KAFKA_{name}"] for name in names
        }
        admin = AdminClient(
            {
                **properties,
                "bootstrap.servers": stack.variables["KAFKA_BOOTSTRAP_SERVERS"],
                "ssl.ca.location": str(stack.authority.file),
                "log_level": 0,
            }
        )
        try:
            return bool(admin.list_topics(timeout=2).brokers)
        except Exception:
            return False

    return replace(program, initialize=(path, (*command, "--add-scram", user)), ready=serves)


def _minio(program: Program, stack: SecureStack) -> Program:
    chain, key = stack.authority.issue("minio")
    certificates = stack.data / "minio-certificates"
    certificates.mkdir()
    shutil.copy(chain, certificates / "public.crt")
    shutil.copy(key, certificates / "private.key")
    return replace(
        program,
        command=(*program.command, "--certs-dir", str(certificates)),
        ready=_answers(stack, f"{stack.variables['S3_ENDPOINT']}/minio/health/ready"),
    )


def _registry(program: Program, stack: SecureStack) -> Program:
    chain, key = stack.authority.issue("registry")
    environment = dict(program.environment)
    environment["QUARKUS_HTTP_SSL_PORT"] = environment.pop("QUARKUS_HTTP_PORT")
    return replace(
        program,
        environment={
            **environment,
            "QUARKUS_HTTP_INSECURE_REQUESTS": "disabled",
            "QUARKUS_HTTP_SSL_CERTIFICATE_FILES": str(chain),
            "QUARKUS_HTTP_SSL_CERTIFICATE_KEY_FILES": str(key),
        },
        ready=_answers(
            stack, f"{stack.variables['SCHEMA_REGISTRY_URL']}/subjects", "SCHEMA_REGISTRY"
        ),
    )


def _connect(program: Program, stack: SecureStack) -> Program:
    chain, key = stack.authority.issue("connect")
    security = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        # The worker reads the password from its environment.
        "sasl.jaas.config": (
            f'{_LOGIN} username="{_USER}" password="${{env:KAFKA_SASL_PASSWORD}}";'
        ),
        **_trust_store("", stack),
    }
    _append(
        program.config_files[0],
        {
            "listeners": stack.variables["KAFKA_CONNECT_URL"],
            **_rest_key_store(stack, chain, key),
            **{
                f"{prefix}{name}": value
                for prefix in ("", "producer.", "consumer.", "admin.")
                for name, value in security.items()
            },
        },
    )
    # The converter and S3's client use Java's own list of authorities.
    trusted = stack.data / "connect" / "trusted.p12"
    entry = pkcs12.PKCS12Certificate(
        x509.load_pem_x509_certificate(stack.authority.certificate), b"private authority"
    )
    trusted.write_bytes(pkcs12.serialize_java_truststore([entry], NoEncryption()))
    java, *rest = program.command
    names = ("KAFKA_SASL_PASSWORD", "SERVICES_CA_FILE")
    return replace(
        program,
        command=(
            *(java, f"-Djavax.net.ssl.trustStore={trusted}"),
            *("-Djavax.net.ssl.trustStoreType=PKCS12", *rest),
        ),
        environment={**program.environment, **{name: stack.variables[name] for name in names}},
        ready=_answers(stack, f"{stack.variables['KAFKA_CONNECT_URL']}/health", "KAFKA_CONNECT"),
    )


def _answers(stack: SecureStack, url: str, service: str = "") -> Callable[[], bool]:
    login = (
        (stack.variables[f"{service}_USERNAME"], stack.variables[f"{service}_PASSWORD"])
        if service
        else None
    )

    def probe() -> bool:
        try:
            return requests.get(url, auth=login, verify=str(stack.authority.file), timeout=2).ok
        except requests.RequestException:
            return False

    return probe


def _pem(stack: SecureStack, chain: Path, key: Path) -> Path:
    """Write a key and its certificates into one file, as Kafka reads them."""
    file = chain.with_suffix(".pem")
    write_private(file, key.read_text() + chain.read_text())
    return file


def _rest_key_store(stack: SecureStack, chain: Path, key: Path) -> dict[str, str]:
    """Write a key and its certificates as the web server in Kafka Connect reads them."""
    password = secrets.token_hex(12)
    certificate, *others = x509.load_pem_x509_certificates(chain.read_bytes())
    private = load_pem_private_key(key.read_bytes(), None)
    file = chain.with_suffix(".p12")
    file.write_bytes(
        pkcs12.serialize_key_and_certificates(
            b"connect",
            private,  # type: ignore[arg-type]
            certificate,
            others,
            BestAvailableEncryption(password.encode()),
        )
    )
    prefix = "listeners.https.ssl"
    return {
        f"{prefix}.keystore.type": "PKCS12",
        f"{prefix}.keystore.location": str(file),
        f"{prefix}.keystore.password": password,
        f"{prefix}.key.password": password,
    }


def _key_store(prefix: str, file: Path) -> dict[str, str]:
    return {f"{prefix}ssl.keystore.type": "PEM", f"{prefix}ssl.keystore.location": str(file)}


def _trust_store(prefix: str, stack: SecureStack) -> dict[str, str]:
    file = str(stack.authority.file)
    return {f"{prefix}ssl.truststore.type": "PEM", f"{prefix}ssl.truststore.location": file}


def _append(file: Path, properties: dict[str, str]) -> None:
    with file.open("a", encoding="ascii") as lines:
        lines.writelines(f"{name}={value}\n" for name, value in properties.items())
