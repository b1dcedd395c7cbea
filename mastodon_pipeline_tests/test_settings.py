"""Settings: what a person writes, what the pipeline makes of it, and how it says no."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.paths import base_directory, data_directory
from mastodon_pipeline.servers import Server, parse_server
from mastodon_pipeline.settings import load_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No variable of the caller's and no stack of the checkout's reaches a test."""
    import os

    for name in [n for n in os.environ if n.startswith(("MASTODON_", "KAFKA_", "S3_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MASTODON_PIPELINE_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("written", "base_url"),
    [
        ("mastodon.social", "https://mastodon.social"),
        ("https://Mastodon.Social/", "https://mastodon.social"),
        ("http://127.0.0.1:9101", "http://127.0.0.1:9101"),
        (" fosstodon.org ", "https://fosstodon.org"),
    ],
)
def test_a_server_is_understood_as_people_write_it(written: str, base_url: str) -> None:
    """A bare domain means https; case, blanks and a last slash do not matter."""
    assert parse_server(written).base_url == base_url


@pytest.mark.parametrize("written", ["", "ftp://a.example", "https://a.example/web", "https://"])
def test_what_is_no_server_is_refused_by_name(written: str) -> None:
    """The message repeats what was written and shows the right form."""
    with pytest.raises(SettingsError, match=r"write it like https://mastodon\.social"):
        parse_server(written)


@given(st.text())
def test_any_text_is_a_server_or_a_settings_error(text: str) -> None:
    """No text whatever raises anything else."""
    try:
        server = parse_server(text)
    except SettingsError:
        return
    assert server.base_url.startswith(("https://", "http://"))


def test_credentials_in_an_address_are_dropped() -> None:
    """`user:password@` never becomes part of a base URL, which logs show."""
    assert parse_server("https://me:secret@a.example").base_url == "https://a.example"


def test_a_token_is_looked_up_by_host_and_is_no_part_of_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """MASTODON_TOKEN_<HOST> holds it; what is printed names the variable alone."""
    server = parse_server("https://mastodon.social")
    assert server.token is None
    monkeypatch.setenv("MASTODON_TOKEN_MASTODON_SOCIAL", "s3cret")
    assert server.token == "s3cret"
    assert "s3cret" not in repr(server)


def test_servers_come_from_the_list_and_the_file_each_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server that both name is followed once, as the file says."""
    listed = tmp_path / "servers.toml"
    listed.write_text(
        '[[servers]]\nurl = "b.example"\nfeed = "public"\ntoken_env = "B_TOKEN"\n'
        '[[servers]]\nurl = "c.example"\n'
    )
    monkeypatch.setenv("MASTODON_SERVERS", "a.example, b.example,")
    monkeypatch.setenv("MASTODON_SERVERS_FILE", str(listed))
    assert load_settings().servers() == (
        Server("https://a.example", "local", "MASTODON_TOKEN_A_EXAMPLE"),
        Server("https://b.example", "public", "B_TOKEN"),
        Server("https://c.example", "local", "MASTODON_TOKEN_C_EXAMPLE"),
    )


@pytest.mark.parametrize(
    "content", ["[[servers]]\nfeed = 'local'", "servers = 3", "nonsense", "[[servers]]\nurl = 5"]
)
def test_a_wrong_servers_file_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str
) -> None:
    """Whatever is wrong in it, the message names the file."""
    listed = tmp_path / "servers.toml"
    listed.write_text(content)
    monkeypatch.setenv("MASTODON_SERVERS_FILE", str(listed))
    with pytest.raises(SettingsError, match=r"servers\.toml"):
        load_settings().servers()


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable's name stands in the message."""
    monkeypatch.setenv("SINK", "hdfs")
    with pytest.raises(SettingsError, match="SINK"):
        load_settings()


def test_the_stack_s_file_is_read_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, clean_environment: Path
) -> None:
    """The native stack's addresses need no export; a person's own export stands above them."""
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


@pytest.mark.parametrize(
    ("pyproject", "is_checkout"),
    [
        ('[project]\nname = "mastodon-pipeline"\n', True),
        ('[project]\nname = "another"\n', False),
        (None, False),
    ],
)
def test_base_directory_is_the_checkout_or_the_current_directory(
    pyproject: str | None, is_checkout: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An installed package must not look for `.env` in site-packages."""
    parent, current = tmp_path / "parent", tmp_path / "current"
    parent.mkdir()
    current.mkdir()
    if pyproject is not None:
        (parent / "pyproject.toml").write_text(pyproject)
    monkeypatch.chdir(current)
    assert base_directory(parent) == (parent if is_checkout else current)


def test_the_data_directory_is_settable(clean_environment: Path) -> None:
    """MASTODON_PIPELINE_DATA moves data, logs and Dagster's home in one go."""
    assert data_directory() == clean_environment.resolve()
