"""Settings: where they are read from, which one wins, and how a wrong one is reported."""

import ast
import inspect
import os
from importlib.metadata import version
from pathlib import Path

import certifi
import pytest

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.paths import REPOSITORY
from mastodon_pipeline.servers import Server, parse_server
from mastodon_pipeline.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No variable of the caller's and no stack of the checkout's reaches a test."""
    for name in [n for n in os.environ if n.startswith(("MASTODON_", "KAFKA_", "S3_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MASTODON_PIPELINE_DATA", str(tmp_path))
    return tmp_path


def test_server_in_list_and_file_is_followed_once_as_the_file_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the order written, the list first."""
    file = tmp_path / "servers.toml"
    file.write_text(
        '[[servers]]\nurl = "b.example"\nfeed = "public"\ntoken_env = "B_TOKEN"\n'
        '[[servers]]\nurl = "c.example"\n'
    )
    monkeypatch.setenv("MASTODON_SERVERS", "a.example, b.example,")
    monkeypatch.setenv("MASTODON_SERVERS_FILE", str(file))
    assert load_settings().servers() == (
        Server("https://a.example", "local", "MASTODON_TOKEN_A_EXAMPLE"),
        Server("https://b.example", "public", "B_TOKEN"),
        Server("https://c.example", "local", "MASTODON_TOKEN_C_EXAMPLE"),
    )


def test_every_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has all of their variables."""
    monkeypatch.setenv("SINK", "hdfs")
    monkeypatch.setenv("LISTENER_GROUPS", "17")
    with pytest.raises(SettingsError, match=r"LISTENER_GROUPS: .*SINK: "):
        load_settings()


def test_wrong_setting_in_a_file_is_named_with_the_file(clean_environment: Path) -> None:
    file = clean_environment / "stack.env"
    file.write_text("SINK=hdfs\n")
    with pytest.raises(SettingsError, match=rf"wrong in the environment or .*{file}: SINK"):
        load_settings()


def test_changes_are_seen_at_once(monkeypatch: pytest.MonkeyPatch, clean_environment: Path) -> None:
    """Of the environment and of files; what did not change is not read again."""
    file = clean_environment / "stack.env"
    file.write_text("LISTENER_GROUPS=2\nKAFKA_TOPIC=one\n")
    first = load_settings()
    assert load_settings() is first
    monkeypatch.setenv("LISTENER_GROUPS", "3")
    file.write_text("LISTENER_GROUPS=2\nKAFKA_TOPIC=two\n")
    second = load_settings()
    assert (first.listener_groups, first.kafka_topic) == (2, "one")
    assert (second.listener_groups, second.kafka_topic) == (3, "two")
    file.unlink()
    assert load_settings().kafka_topic == "mastodon-topic"


def test_authorities_are_looked_at_each_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(Path(certifi.where()).read_bytes())
    monkeypatch.setenv("SERVICES_CA_FILE", str(file))
    assert load_settings().services_ca_file == file
    file.unlink()
    with pytest.raises(SettingsError, match="SERVICES_CA_FILE"):
        load_settings()


def test_stack_file_is_read_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, clean_environment: Path
) -> None:
    """The native stack's addresses need no export; a person's own export has precedence."""
    (clean_environment / "stack.env").write_text(
        "KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:1111\nS3_ENDPOINT=http://127.0.0.1:2222\n"
        "AWS_SECRET_ACCESS_KEY=hidden\n"
    )
    monkeypatch.setenv("S3_ENDPOINT", "http://127.0.0.1:3333")
    settings = load_settings()
    assert settings.kafka_bootstrap_servers == "127.0.0.1:1111"
    assert settings.s3_endpoint == "http://127.0.0.1:3333"
    assert "hidden" not in repr(settings)


def test_security_settings_reach_librdkafka(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is set is passed on, under librdkafka's names."""
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "p")
    assert load_settings().kafka_client_config() == {
        "bootstrap.servers": "127.0.0.1:9092",
        "security.protocol": "SASL_SSL",
        "sasl.password": "p",
    }


def test_every_setting_is_documented_where_it_is_declared() -> None:
    """A docstring below each field: what it is, its unit, and why the default is what it is."""
    [declaration] = ast.parse(inspect.getsource(Settings)).body
    assert isinstance(declaration, ast.ClassDef)
    undocumented = []
    for statement, below in zip(declaration.body, declaration.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            match below:
                case ast.Expr(value=ast.Constant(value=str())):
                    pass
                case _:
                    undocumented.append(statement.target.id)
    assert undocumented == []


@pytest.mark.parametrize("name", Settings.model_fields)
def test_setting_is_in_the_operations_manual(name: str) -> None:
    """In one of its tables of variables."""
    assert f"| `{name.upper()}` |" in (REPOSITORY / "docs" / "operations.md").read_text()


def test_alert_urls_are_secret_and_may_contain_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comma separates two URLs only where a scheme follows."""
    monkeypatch.setenv(
        "ALERT_URLS", "json://me:a-secret@a.example, mailto://b.example?to=c@d.example,e@f.example,"
    )
    settings = load_settings()
    assert settings.alert_targets() == (
        "json://me:a-secret@a.example",
        "mailto://b.example?to=c@d.example,e@f.example",
    )
    assert "a-secret" not in f"{settings!r} {settings} {settings.model_dump_json()}"
    monkeypatch.delenv("ALERT_URLS")
    assert load_settings().alert_targets() == ()


def test_user_agent_names_product_version_purpose_and_contact(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P1. The product's name is that which robots.txt may address."""
    product = f"mastodon-pipeline/{version('mastodon-pipeline')}"
    assert load_settings().user_agent == f"{product} (counts public toots)"
    monkeypatch.setenv("MASTODON_CONTACT", "https://example.org/about")
    user_agent = load_settings().user_agent
    assert user_agent == f"{product} (counts public toots; +https://example.org/about)"


def test_contact_is_requested_for_other_peoples_servers_only() -> None:
    """P1."""
    settings = load_settings()
    local, foreign = parse_server("http://127.0.0.1:4000"), parse_server("a.example")
    assert settings.contact_request([]) == ""
    assert settings.contact_request([local]) == ""
    assert "a.example cannot tell" in settings.contact_request([local, foreign])
    assert "and 1 more" in settings.contact_request([foreign, parse_server("b.example")])
    assert load_settings(mastodon_contact="me@a.example").contact_request([foreign]) == ""


def test_more_copies_in_sync_than_there_are_are_refused() -> None:
    """Kafka would acknowledge nothing. Only one of both may be the brokers' own."""
    assert load_settings(kafka_topic_min_insync_replicas=2).kafka_topic_replication_factor is None
    with pytest.raises(SettingsError, match="KAFKA_TOPIC_MIN_INSYNC_REPLICAS is more than"):
        load_settings(kafka_topic_min_insync_replicas=3, kafka_topic_replication_factor=2)


def test_several_workers_of_kafka_connect_are_separated_by_commas() -> None:
    settings = load_settings(kafka_connect_url="http://a:8083, http://b:8083/")
    assert settings.connect_urls == ("http://a:8083", "http://b:8083/")
