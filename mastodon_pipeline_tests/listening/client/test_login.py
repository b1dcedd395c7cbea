"""`mastodon-pipeline login` gets a person's token and never shows it."""

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from dotenv import dotenv_values

from infra.simulator.fediverse import token_variable
from infra.simulator.instance import ServerPolicy, gotosocial
from infra.simulator.simulator import Simulator
from mastodon_pipeline.cli.main import cli
from mastodon_pipeline.listening.client.login import save_token
from mastodon_pipeline_tests.support.simulated_servers import quiet, simulator_settings

STREAMED = ServerPolicy("stream.example", local_feed="authenticated")


@pytest.fixture
def simulator() -> Simulator:
    """One server with a user."""
    return Simulator(quiet(STREAMED))


def log_in(simulator: Simulator, file: Path, code: str) -> Result:
    arguments = ["login", simulator.servers[0].base_url, "--env-file", str(file)]
    return CliRunner().invoke(cli, arguments, input=code)


def test_code_is_exchanged_for_a_token_in_the_settings_file(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's address is shown, the token is not; it works for streaming. Shows G20."""
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
def test_wrong_code_stores_nothing(
    code: str, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says what to do."""
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
def test_server_that_refuses_a_login_is_reported_in_one_line(
    status: int, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may not register applications."""
    with simulator:
        simulator_settings(simulator, monkeypatch)
        simulator.fault("answer", status=status, seconds=30)
        result = log_in(simulator, tmp_path / ".env", "")
    assert result.exit_code == 1
    assert "does not register applications" in result.stderr


def test_login_refuses_a_private_address(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for listening: https to public addresses only."""
    with simulator:
        simulator_settings(simulator, monkeypatch)
        monkeypatch.setenv("MASTODON_ALLOW_PRIVATE_ADDRESSES", "false")
        result = log_in(simulator, tmp_path / ".env", "")
    assert result.exit_code == 1
    assert "is not https" in result.stderr


def test_login_warns_if_the_environment_overrides_the_file(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the person wonders why the new token is not used."""
    with simulator:
        simulator_settings(simulator, monkeypatch)
        variable = token_variable(simulator.servers[0])
        monkeypatch.setenv(variable, "an earlier token")
        code = simulator.servers[0].tokens.login_code
        result = log_in(simulator, tmp_path / ".env", code)
    assert f"The environment sets {variable}" in result.stderr
    assert "an earlier token" not in result.output


def test_new_token_replaces_the_old_one_and_changes_nothing_else(tmp_path: Path) -> None:
    """Other lines and comments stay; other users may no longer read the file."""
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


def test_symbolic_link_to_the_settings_file_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / ".env"
    link.symlink_to(real)
    save_token(link, "TOKEN", "t")
    assert link.is_symlink()
    assert dotenv_values(real) == {"TOKEN": "t"}


def test_login_at_a_server_with_websockets_only_says_that_it_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As GoToSocial does."""
    with Simulator(quiet(gotosocial("social.example"))) as simulator:
        simulator_settings(simulator, monkeypatch)
        code = simulator.servers[0].tokens.login_code
        result = log_in(simulator, tmp_path / ".env", code)
    assert result.exit_code == 0
    assert "lets us stream its local feed with it over a WebSocket." in result.output
    assert "does not let us" not in result.output


def test_login_at_a_server_that_does_not_stream_says_what_the_token_is_good_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Simulator(quiet(STREAMED)) as simulator:
        simulator_settings(simulator, monkeypatch)
        simulator.fault("answer", status=501, endpoint="streaming", seconds=3600)
        code = simulator.servers[0].tokens.login_code
        result = log_in(simulator, tmp_path / ".env", code)
    assert "shows us its local timeline with it: it does not stream (501" in result.output


def test_login_names_languages_that_the_owner_has_not_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token would stream only the chosen ones."""
    policy = ServerPolicy("stream.example", chosen_languages=("en",))
    with Simulator(quiet(policy)) as simulator:
        simulator_settings(simulator, monkeypatch)
        for _ in range(40):
            simulator.publish()
        code = simulator.servers[0].tokens.login_code
        result = log_in(simulator, tmp_path / ".env", code)
    assert "lets us stream" in result.stdout
    assert "its owner has chosen languages" in result.stderr
