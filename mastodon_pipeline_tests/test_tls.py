"""Certificates that are not to be trusted: each client says in one line what is wrong.

With the real services over TLS: `infra/test_secure_services.py`.
"""

import socket
import socketserver
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import duckdb
import pytest

from mastodon_pipeline.cli import health_checks
from mastodon_pipeline.cli.machine_checks import Unhealthy
from mastodon_pipeline.errors import PipelineError, SettingsError
from mastodon_pipeline.kafka import ensure_topics
from mastodon_pipeline.lake.bucket import ensure_bucket
from mastodon_pipeline.lake.connection import connect_lake
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.listening.topic.registry import register
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline_tests.support.certificates import Authority, Fault, https_server
from mastodon_pipeline_tests.support.serving import serving

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def secure_settings(port: int, authorities: Path | None, **more: str) -> Settings:
    """Settings that reach every service at one TLS port."""
    url = f"https://127.0.0.1:{port}"
    values = {
        "kafka_bootstrap_servers": f"127.0.0.1:{port}",
        "kafka_security_protocol": "SSL",
        "schema_registry_url": url,
        "kafka_connect_url": url,
        "s3_endpoint": url,
        "aws_access_key_id": "a",
        "aws_secret_access_key": "b",
        "services_ca_file": authorities,
    }
    return load_settings(**values | more)


def _kafka(settings: Settings) -> object:
    return ensure_topics(settings, listening_topics(settings), deadline_seconds=2)


def _connect(settings: Settings) -> object:
    with ConnectRest.of(settings, deadline_seconds=0) as connect:
        return connect.plugins()


CLIENTS: dict[str, Callable[[Settings], object]] = {
    "Kafka": _kafka,
    "the schema registry": register,
    "Kafka Connect": _connect,
    "the object store": ensure_bucket,
}
FAULTS: dict[Fault, str] = {
    "expired": "its certificate has expired: renew it",
    "not yet valid": "its certificate is not valid yet: check the clocks",
    "misnamed": "its certificate is for another name",
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_certificate_is_one_line_that_says_why(
    client: str, fault: Fault, authority: Authority
) -> None:
    """Shows G25."""
    with https_server(*authority.issue("bad", fault)) as port:
        settings = secure_settings(port, authority.file)
        with pytest.raises(PipelineError, match=FAULTS[fault]) as refused:
            CLIENTS[client](settings)
    assert str(refused.value).startswith(f"{client} at ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("other", [True, False], ids=["another authority", "the system's"])
def test_an_unknown_authority_is_one_line_that_names_the_setting(
    client: str, other: bool, authority: Authority, tmp_path: Path
) -> None:
    with https_server(*authority.issue("good")) as port:
        authorities = Authority(tmp_path).file if other else None
        with pytest.raises(
            PipelineError, match=r"no trusted authority.*SERVICES_CA_FILE"
        ) as refused:
            CLIENTS[client](secure_settings(port, authorities))
    assert str(refused.value).startswith(f"{client} at ")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_server_without_tls_is_one_line_that_says_so(client: str, authority: Authority) -> None:
    with plain_server() as port, pytest.raises(PipelineError, match="does not speak TLS"):
        CLIENTS[client](secure_settings(port, authority.file))


@pytest.mark.parametrize("fault", ["expired", "misnamed", "none"])
def test_duckdb_verifies_certificates(fault: Fault, authority: Authority, tmp_path: Path) -> None:
    """Of its two HTTP clients one does not, unless told to. Shows G25."""
    other = Authority(tmp_path / "other").file
    authorities = other if fault == "none" else authority.file
    with https_server(*authority.issue("lake", fault)) as port:
        for implementation in ("default", "curl", "httplib"):
            with closing(connect_lake(secure_settings(port, authorities))) as lake:
                lake.execute(f"SET httpfs_client_implementation = '{implementation}'")
                lake.execute("SET http_retries = 0")
                with pytest.raises(duckdb.IOException, match=r"SSL|certificate"):
                    lake.execute("select * from 's3://mastodon/a.parquet'")


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_a_broker_with_tls_is_one_line_that_names_the_protocol(
    protocol: str, authority: Authority
) -> None:
    with https_server(*authority.issue("good")) as port:
        settings = secure_settings(
            port,
            None,
            kafka_security_protocol=protocol,
            kafka_sasl_mechanism="PLAIN",
            kafka_sasl_username="a",
            kafka_sasl_password="b",
        )
        with pytest.raises(PipelineError, match="speaks TLS: set KAFKA_SECURITY_PROTOCOL"):
            _kafka(settings)


def test_doctor_says_which_service_is_not_to_be_trusted(authority: Authority) -> None:
    """And that the sink's state is unknown, rather than that it starts."""
    with https_server(*authority.issue("bad", "expired")) as port:
        settings = secure_settings(port, authority.file)
        for part in ("Kafka", "schema registry", "object store", "sink"):
            with pytest.raises((PipelineError, Unhealthy), match="has expired"):
                dict(health_checks._CHECKS)[part](settings)


def test_a_wrong_password_is_one_line_that_names_the_settings(authority: Authority) -> None:
    """No waiting for a service that will not change its mind; the password is in no line."""
    with https_server(*authority.issue("good"), status=401) as port:
        settings = secure_settings(
            port,
            authority.file,
            schema_registry_username="pipeline",
            schema_registry_password="a-wrong-password",
            kafka_connect_username="pipeline",
            kafka_connect_password="a-wrong-password",
        )
        for part, name in (("schema registry", "SCHEMA_REGISTRY"), ("sink", "KAFKA_CONNECT")):
            with pytest.raises((PipelineError, Unhealthy), match=f"{name}_PASSWORD") as refused:
                dict(health_checks._CHECKS)[part](settings)
            assert "a-wrong-password" not in str(refused.value)
            assert "\n" not in str(refused.value)


def test_a_file_without_certificates_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    for content in ("", "no certificate"):
        file.write_text(content)
        with pytest.raises(
            SettingsError, match=r"SERVICES_CA_FILE: .*ca\.pem holds no certificate"
        ):
            load_settings(services_ca_file=file)
    with pytest.raises(SettingsError, match="SERVICES_CA_FILE"):
        load_settings(services_ca_file=tmp_path / "missing.pem")


def test_kafka_without_tls_is_not_given_the_authorities(authority: Authority) -> None:
    """librdkafka would warn of a property that counts for nothing."""
    plain = load_settings(services_ca_file=authority.file)
    encrypted = load_settings(services_ca_file=authority.file, kafka_security_protocol="sasl_ssl")

    assert "ssl.ca.location" not in plain.kafka_client_config()
    assert encrypted.kafka_client_config()["ssl.ca.location"] == str(authority.file)


class _PlainAnswer(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with suppress(OSError):
            self.request.recv(65536)
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            # Closed with unread bytes, the connection would be reset, and the answer be lost.
            self.request.shutdown(socket.SHUT_WR)
            while self.request.recv(65536):
                pass


@contextmanager
def plain_server() -> Iterator[int]:
    """Answer whatever comes with an HTTP error, without TLS."""

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    server = Server(("127.0.0.1", 0), _PlainAnswer)
    with serving(server):
        yield server.server_address[1]
