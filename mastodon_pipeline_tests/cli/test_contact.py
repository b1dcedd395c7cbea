"""Who runs a listener is asked for once, before other people's servers are read."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mastodon_pipeline.cli import contact
from mastodon_pipeline.cli.contact import ask_for_contact
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline.setting_files import read_variables
from mastodon_pipeline.settings import load_settings

FOREIGN = parse_server("https://mastodon.example")
PAGE = "https://example.org/about"


@pytest.fixture(autouse=True)
def own_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv("MASTODON_CONTACT", raising=False)
    monkeypatch.setattr(contact, "OWN_FILE", tmp_path / ".env")
    return tmp_path / ".env"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        @staticmethod
        def isatty() -> bool:
            return True

    class Sys:
        stdin = stderr = Terminal

    monkeypatch.setattr(contact, "sys", Sys)


def ask(url: str, typed: str = "") -> tuple[str, str]:
    """Return the User-Agent afterwards, and what a person reads."""

    @click.command()
    def command() -> None:
        settings = ask_for_contact(load_settings(), [parse_server(url)])
        click.echo(settings.user_agent)

    result = CliRunner().invoke(command, input=typed, catch_exceptions=False)
    return result.stdout.splitlines()[-1], result.stderr


def test_start_without_a_contact_says_in_one_line_how_to_set_it() -> None:
    """P1. Where nobody can be asked."""
    _, read = ask(FOREIGN.base_url)
    assert read.count("\n") == 1
    assert "mastodon.example" in read
    assert "MASTODON_CONTACT" in read


@pytest.mark.usefixtures("terminal")
def test_contact_entered_on_a_terminal_is_used_and_stored(own_file: Path) -> None:
    """P1. It is in the User-Agent at once, and no later start asks again."""
    user_agent, read = ask(FOREIGN.base_url, f"{PAGE}\n")
    assert user_agent.endswith(f"; +{PAGE})")
    assert "MASTODON_CONTACT" in read
    assert read_variables(own_file)["MASTODON_CONTACT"] == PAGE
    assert own_file.stat().st_mode & 0o077 == 0
    assert ask(FOREIGN.base_url)[1] == ""


@pytest.mark.usefixtures("terminal")
def test_contact_is_asked_for_once_even_if_none_is_given(own_file: Path) -> None:
    """P1."""
    assert "MASTODON_CONTACT" in ask(FOREIGN.base_url, "\n")[1]
    assert read_variables(own_file)["MASTODON_CONTACT"] == ""
    assert ask(FOREIGN.base_url)[1] == ""


@pytest.mark.usefixtures("terminal")
def test_contact_that_no_header_can_hold_is_asked_for_again() -> None:
    user_agent, read = ask(FOREIGN.base_url, f"Жук\n{PAGE}\n")
    assert "Latin" in read
    assert user_agent.endswith(f"; +{PAGE})")


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("url", ["http://127.0.0.1:4000", "http://localhost", "http://[::1]:80"])
def test_servers_of_this_machine_need_no_contact(url: str) -> None:
    """P1. The simulator's, for one."""
    assert ask(url)[1] == ""


def test_contact_that_is_set_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTODON_CONTACT", PAGE)
    assert ask(FOREIGN.base_url)[1] == ""
