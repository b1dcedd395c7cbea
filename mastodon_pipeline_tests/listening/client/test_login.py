"""`mastodon-pipeline login`: a person gets a token and never sees it."""

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from dotenv import dotenv_values

from infra.simulator.fediverse import Options, token_variable
from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.cli.main import cli
from mastodon_pipeline.listening.client.login import save_token
from mastodon_pipeline_tests.listening.conftest import simulator_settings

STREAMING = ServerPolicy("stream.example", local_feed="authenticated")


@pytest.fixture
def simulator() -> Simulator:
    """One server with a user."""
    return Simulator(Options(servers=(STREAMING,), toots=0, start="control"))


def log_in(simulator: Simulator, file: Path, code: str) -> Result:
    arguments = ["login", simulator.servers[0].base_url, "--env-file", str(file)]
    return CliRunner().invoke(cli, arguments, input=code)


def test_the_code_becomes_a_token_in_the_owners_file(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's address is shown, the token is not; it streams."""
    file = tmp_path / ".env"
    with simulator:
        simulator_settings(simulator, monkeypatch)
        server = simulator.servers[0]
        monkeypatch.delenv(token_variable(server))
        result = log_in(simulator, file, f" {server.tokens.login_code} \n")
        token = server.tokens.user
    assert result.exit_code == 0, result.output
    assert f"{server.base_url}/oauth/authorize?" in result.output
    assert "scope=read%3Astatuses&" in result.output
    assert "lets us stream" in result.output
    assert token
    assert token not in result.output
    assert dotenv_values(file) == {token_variable(server): token}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("code", ["wrong\n", ""], ids=["a wrong code", "no code"])
def test_without_the_right_code_nothing_is_kept(
    code: str, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that says what to do."""
    file = tmp_path / ".env"
    with simulator:
        simulator_settings(simulator, monkeypatch)
        result = log_in(simulator, file, code)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit), "no traceback"
    if code:
        assert "does not accept this code" in result.stderr
    assert not file.exists()


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_server_that_gives_none_is_one_line(
    status: int, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may not let anybody register an application."""
    with simulator:
        simulator_settings(simulator, monkeypatch)
        simulator.fault("answer", status=status, seconds=30)
        result = log_in(simulator, tmp_path / ".env", "")
    assert result.exit_code == 1
    assert "does not register applications" in result.stderr


def test_a_private_address_is_refused(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for listening: https, and public."""
    with simulator:
        simulator_settings(simulator, monkeypatch)
        monkeypatch.setenv("MASTODON_ALLOW_PRIVATE_ADDRESSES", "false")
        result = log_in(simulator, tmp_path / ".env", "")
    assert result.exit_code == 1
    assert "is not https" in result.stderr


def test_an_environment_that_stands_above_the_file_is_told(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the person wonders why the new token is not used."""
    with simulator:
        simulator_settings(simulator, monkeypatch)
        variable = token_variable(simulator.servers[0])
        monkeypatch.setenv(variable, "an older one")
        code = simulator.servers[0].tokens.login_code
        result = log_in(simulator, tmp_path / ".env", code)
    assert f"The environment sets {variable}" in result.stderr
    assert "an older one" not in result.output


def test_a_new_token_takes_the_old_ones_place_and_disturbs_nothing(tmp_path: Path) -> None:
    """The person's own lines and comments stay; others may no longer read the file."""
    file = tmp_path / ".env"
    file.write_text("# mine\nMASTODON_SERVERS=a.example\nTOKEN_A='old'\nLAST=1")
    file.chmod(0o644)
    for variable, token in (("TOKEN_A", "new"), ("TOKEN_B", "b-_~+/.=")):
        save_token(file, variable, token)
    assert file.read_text() == (
        "# mine\nMASTODON_SERVERS=a.example\nTOKEN_A='new'\nLAST=1\nTOKEN_B='b-_~+/.='\n"
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_a_linked_file_stays_linked(tmp_path: Path) -> None:
    """Where the settings live elsewhere."""
    real, link = tmp_path / "real", tmp_path / ".env"
    link.symlink_to(real)
    save_token(link, "TOKEN", "t")
    assert link.is_symlink()
    assert dotenv_values(real) == {"TOKEN": "t"}
