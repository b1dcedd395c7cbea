"""`mastodon-pipeline servers`: how each server would be listened to is tried and shown."""

import socket
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from infra.simulator.fediverse import token_variable
from infra.simulator.instance import ServerPolicy, gotosocial
from infra.simulator.simulator import Simulator
from mastodon_pipeline.cli.main import cli
from mastodon_pipeline.cli.servers import politeness, table, wanted_servers
from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.event_log import open_instance
from mastodon_pipeline.listening.following.trial import try_server
from mastodon_pipeline.listening.supervising.reports import save_report
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.listening.supervising.sample_reports import sample_report
from mastodon_pipeline_tests.support.simulated_servers import quiet, simulator_settings

STREAMED = ServerPolicy("stream.example", local_feed="authenticated")
POLLED = ServerPolicy("poll.example", token=False)
LOCKED = ServerPolicy("locked.example", token=False, local_feed="authenticated")
OFF = ServerPolicy("off.example", local_feed="disabled")
CLOSED = ServerPolicy("closed.example", token=False, closed=True)


def test_servers_shows_how_each_is_listened_to_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order configured; parked servers are part of the report, not an error."""
    with Simulator(quiet(STREAMED, POLLED, LOCKED, OFF, CLOSED)) as simulator:
        simulator_settings(simulator, monkeypatch)
        result = CliRunner().invoke(cli, ["servers"], catch_exceptions=False)
        names = [server.base_url.removeprefix("http://") for server in simulator.servers]
        variables = [token_variable(server) for server in simulator.servers]
        simulator.wait_until(lambda: len(simulator.servers[0].streams) == 0)
        assert simulator.servers[0].served["streams"] == 1, "the stream was tried, and left"
    assert result.exit_code == 0
    headings, *lines = result.stdout.splitlines()
    assert headings.split() == ["SERVER", "FEED", "VERSION", "MODE", "REASON"]
    login = "it shows this only to people with an account: " + (
        f"set {variables[4]}, or run mastodon-pipeline login http://{names[4]}"
    )
    needed = f"set {variables[2]}, or run mastodon-pipeline login http://{names[2]}"
    assert [line.split(maxsplit=4) for line in lines] == [
        [names[0], "local", "4.5.3", "streaming", "there is a token"],
        [names[1], "local", "4.5.3", "polling", "there is no token"],
        [names[2], "local", "4.5.3", "parked", f"its local feed needs a token: {needed}"],
        [names[3], "local", "4.5.3", "parked", "the server has disabled its local feed"],
        [names[4], "local", "4.5.3", "parked", f"the server answers 401 Unauthorized: {login}"],
    ]


def test_server_with_only_websockets_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    """GoToSocial refuses a stream of events; its WebSocket is opened once, and closed."""
    with Simulator(quiet(gotosocial("social.example"))) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        trial = try_server(settings.servers()[0], settings, settings.servers()[0].token)
        simulator.wait_until(lambda: len(simulator.servers[0].streams) == 0)
    assert trial.mode is not None
    assert trial.mode.kind == "websocket"
    assert "no event stream" in trial.reason
    assert "websocket" in table([trial])[1]


def test_wrong_token_is_reported_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is sent from the first request on."""
    with Simulator(quiet(STREAMED)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        trial = try_server(settings.servers()[0], settings, "wrong")
    assert trial.mode is not None
    assert trial.mode.kind == "park"
    assert "is the token in MASTODON_TOKEN_127_0_0_1_" in trial.reason


@pytest.mark.parametrize("status", [429, 503])
def test_busy_server_is_shown_as_waiting_and_not_parked(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener would try it again; the report does not wait for that."""
    with Simulator(quiet(POLLED)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        simulator.fault("answer", status=status, seconds=30)
        trial = try_server(settings.servers()[0], settings, None)
    assert trial.mode is None
    assert trial.reason.startswith(f"the server answers {status}")


def test_unreachable_server_is_explained_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS, TCP and TLS, without the HTTP library's own words for them."""
    with Simulator(quiet(POLLED)) as simulator, socket.socket() as unused:
        settings = simulator_settings(simulator, monkeypatch)
        unused.bind(("127.0.0.1", 0))

        def reason(url: str) -> str:
            trial = try_server(parse_server(url), settings, None)
            assert trial.mode is None
            return trial.reason

        port = simulator.servers[0].port
        assert reason(f"https://127.0.0.1:{port}") == "TLS: WRONG_VERSION_NUMBER"
        assert reason(f"https://127.0.0.1:{unused.getsockname()[1]}") == "connection refused"
        assert reason("https://nobody.invalid") == "DNS: its name cannot be resolved"
        simulator.fault("drop", seconds=30)
        assert reason(f"http://127.0.0.1:{port}") == "connection reset"


def test_named_server_keeps_its_configured_feed() -> None:
    """And is asked once, however it is written."""
    settings = Settings(mastodon_servers=("a.example", "b.example"))
    names = ["B.example/", "https://b.example", "c.example"]
    assert wanted_servers(settings, names) == [
        parse_server("b.example"),
        parse_server("c.example"),
    ]
    assert wanted_servers(settings, []) == [parse_server("a.example"), parse_server("b.example")]


def test_servers_without_any_server_says_how_to_configure_one() -> None:
    with pytest.raises(SettingsError, match="MASTODON_SERVERS"):
        wanted_servers(Settings(mastodon_servers=(), mastodon_servers_file=None), [])


def test_languages_that_the_tokens_owner_has_not_chosen_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server leaves them out, in stream and timeline alike, and says so nowhere."""
    with Simulator(quiet()) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        for _ in range(40):
            simulator.publish()
        languages = {toot.language or "" for toot in simulator.fediverse.live_toots} - {""}
        assert len(languages) > 1
        [server] = settings.servers()
        all_languages = try_server(server, settings, server.token)
        choosy = replace(simulator.servers[0].policy, chosen_languages=(languages.pop(),))
        simulator.call(lambda: setattr(simulator.servers[0], "policy", choosy))
        chosen = try_server(server, settings, server.token)
    assert chosen.mode is not None
    assert chosen.mode.kind == "stream"
    assert "its owner has chosen languages" in table([chosen])[1]
    assert all_languages.hidden == ""


@pytest.mark.thorough
def test_servers_shows_what_listeners_ask_of_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Requests and kilobytes an hour, and the share of the limit, as far as they are known.

    Shows G7.
    """
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("MASTODON_PIPELINE_DATA", str(tmp_path))
    with Simulator(quiet(STREAMED, POLLED)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        followed = settings.servers()[0]
        report = sample_report()
        snapshot = msgspec.structs.replace(
            report.snapshot,
            server=followed,
            requests_per_hour=1234.4,
            bytes_per_hour=56_780.0,
            rate_budget_used=0.126,
        )
        with open_instance(home) as instance:
            report = msgspec.structs.replace(report, snapshot=snapshot)
            save_report(instance, "group-1", "run", [report])
        result = CliRunner().invoke(cli, ["servers"], catch_exceptions=False)
        headings, first, second = result.stdout.splitlines()
        assert headings.split()[4:] == ["REQ/H", "KB/H", "LIMIT", "REASON"]
        assert first.split()[4:7] == ["1,234", "56.8", "13%"]
        assert second.split()[4:7] == ["there", "is", "no"]
        monkeypatch.setattr(time, "time", lambda now=time.time: now() + 3600)
        assert politeness(settings) == {}, "it is too old"
