"""Servers as people write them down, and where their tokens are looked up."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mastodon_pipeline import servers
from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.servers import (
    Server,
    canonical_base_url,
    parse_server,
    read_servers_file,
)


@pytest.mark.parametrize(
    ("text", "base_url"),
    [
        ("mastodon.social", "https://mastodon.social"),
        ("https://Mastodon.Social/", "https://mastodon.social"),
        ("http://127.0.0.1:9101", "http://127.0.0.1:9101"),
        (" fosstodon.org ", "https://fosstodon.org"),
        ("one.example:443", "https://one.example"),
        ("http://one.example:80", "http://one.example"),
        ("https://one.example:80", "https://one.example:80"),
        ("https://One.Example.", "https://one.example"),
        ("https://Bücher.example.:443/", "https://xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "https://xn--bcher-kva.example"),
    ],
)
def test_server_is_parsed_as_people_write_it(text: str, base_url: str) -> None:
    """A bare domain means https; case, blanks, a final dot or slash, and its port do not matter."""
    assert parse_server(text).base_url == base_url
    assert canonical_base_url(base_url) == base_url


@pytest.mark.parametrize("text", ["", "ftp://a.example", "https://a.example/web", "https://"])
def test_text_that_is_no_server_is_refused(text: str) -> None:
    """The message repeats what was written and shows the right form."""
    with pytest.raises(SettingsError, match=r"write it like https://mastodon\.social") as refusal:
        parse_server(text)
    assert repr(text) in str(refusal.value)


def test_unknown_feed_is_refused() -> None:
    """The message names the feeds that exist."""
    with pytest.raises(SettingsError, match="none of local, public, remote"):
        parse_server("a.example", "federated")


@given(st.text())
def test_any_text_is_either_a_server_or_a_settings_error(text: str) -> None:
    """No text raises anything else."""
    try:
        server = parse_server(text)
    except SettingsError:
        return
    assert server.base_url.startswith(("https://", "http://"))
    assert parse_server(server.base_url).base_url == server.base_url


def test_credentials_in_an_address_are_dropped() -> None:
    """`user:password@` never becomes part of a base URL, which logs show. Shows G20."""
    assert parse_server("https://me:secret@a.example").base_url == "https://a.example"


def test_token_is_looked_up_by_host_and_not_held_by_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """MASTODON_TOKEN_<HOST> holds it; what is printed has the variable's name only. Shows G20."""
    server = parse_server("https://mastodon.social")
    monkeypatch.delenv("MASTODON_TOKEN_MASTODON_SOCIAL", raising=False)
    assert server.token is None
    monkeypatch.setenv("MASTODON_TOKEN_MASTODON_SOCIAL", "s3cret")
    assert server.token == "s3cret"
    assert "s3cret" not in repr(server)


def test_token_stored_by_another_spelling_of_the_host_is_still_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was named by the host as a person wrote it."""
    monkeypatch.delenv("MASTODON_TOKEN_XN__BCHER_KVA_EXAMPLE", raising=False)
    monkeypatch.setenv("MASTODON_TOKEN_B_CHER_EXAMPLE", "s3cret")
    assert parse_server("bücher.example").token == "s3cret"
    monkeypatch.setenv("MASTODON_TOKEN_XN__BCHER_KVA_EXAMPLE", "newer")
    assert parse_server("bücher.example").token == "newer"


def test_token_is_read_from_the_env_file_until_that_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A running listener picks up a token that was just written; the environment wins."""
    env_file = tmp_path / ".env"
    monkeypatch.setattr(servers, "OWN_FILE", env_file)
    server = parse_server("a.example", token_env="A_TOKEN_OF_THIS_TEST")
    assert server.token is None
    env_file.write_text("A_TOKEN_OF_THIS_TEST=first\n")
    assert server.token == "first"
    env_file.write_text("A_TOKEN_OF_THIS_TEST=the second\n")
    assert server.token == "the second"
    monkeypatch.setenv("A_TOKEN_OF_THIS_TEST", "of the environment")
    assert server.token == "of the environment"


def test_servers_file_has_feeds_and_token_variables(tmp_path: Path) -> None:
    """Both are optional."""
    file = tmp_path / "servers.toml"
    file.write_text(
        '[[servers]]\nurl = "b.example"\nfeed = "public"\ntoken_env = "B_TOKEN"\n'
        '[[servers]]\nurl = "c.example"\n'
    )
    assert read_servers_file(file) == [
        Server("https://b.example", "public", "B_TOKEN"),
        Server("https://c.example", "local", "MASTODON_TOKEN_C_EXAMPLE"),
    ]


@pytest.mark.parametrize(
    "content", ["[[servers]]\nfeed = 'local'", "servers = 3", "nonsense", "[[servers]]\nurl = 5"]
)
def test_error_in_the_servers_file_names_the_file(tmp_path: Path, content: str) -> None:
    """Whatever is wrong in it."""
    file = tmp_path / "servers.toml"
    file.write_text(content)
    with pytest.raises(SettingsError, match=r"servers\.toml"):
        read_servers_file(file)


def test_missing_servers_file_is_named(tmp_path: Path) -> None:
    """With the setting that names it."""
    with pytest.raises(SettingsError, match=r"MASTODON_SERVERS_FILE.*absent\.toml"):
        read_servers_file(tmp_path / "absent.toml")
