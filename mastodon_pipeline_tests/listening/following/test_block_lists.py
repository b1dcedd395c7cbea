"""A listener whose block lists change while it listens."""

from dataclasses import replace
from pathlib import Path

import pytest

from infra.simulator.simulator import Simulator
from mastodon_pipeline.errors import PastUnreadable, SettingsError
from mastodon_pipeline.listening.following import listener as listener_module
from mastodon_pipeline.listening.following.listener import Listener
from mastodon_pipeline.listening.following.past import PastReading
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.recording_sink import MemoryPositions, RecordingSink
from mastodon_pipeline_tests.support.scene import listening_to
from mastodon_pipeline_tests.support.simulated_servers import (
    STREAMED,
    quiet,
    simulator_settings,
)
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

OTHER = replace(STREAMED, domain="other.example")


@pytest.fixture
def blocklist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A list that blocks nobody yet, and is looked at often."""
    monkeypatch.setattr(listener_module, "REFRESH_PEOPLE_SECONDS", 0.1)
    path = tmp_path / "blocks.csv"
    path.write_text("#domain,#severity\n")
    return path


def block(blocklist: Path, *lines: str) -> None:
    """Replace the list at once: half of a list would end the listener."""
    new = blocklist.with_suffix(".new")
    new.write_text("\n".join(("#domain,#severity", *lines, "")))
    new.replace(blocklist)


def test_changed_list_applies_while_listening(
    blocklist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To an open stream, without a new connection, in both directions. Shows P6."""
    assert listener_module.REFRESH_PEOPLE_SECONDS < 60
    with Simulator(quiet(STREAMED)) as simulator:
        settings = with_list(simulator, monkeypatch, blocklist)
        with listening_to(simulator, monkeypatch, settings=settings) as scene:
            scene.wait_until_connected()
            scene.receive_toot()
            block(blocklist, "stream.example,suspend")
            rules = scene.listener._resources.people
            wait_until(lambda: rules.rules.blocks_server("stream.example"), "the changed list")
            blocked = [simulator.publish() for _ in range(3)]
            wait_until(lambda: scene.statistics().excluded >= 3, "toots to be left out")
            assert not set(blocked) & set(scene.sink.uris())
            block(blocklist)
            wait_until(lambda: not rules.rules.blocks_server("stream.example"), "the next change")
            scene.receive_toot()
            assert simulator.asked("streaming") == 1


def test_server_on_a_block_list_is_not_followed(
    blocklist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the name of its accounts, too; the others are. Shows P6."""
    block(blocklist, f"{STREAMED.domain},silence")
    with Simulator(quiet(STREAMED, OTHER)) as simulator:
        settings = with_list(simulator, monkeypatch, blocklist)
        with listening_to(simulator, monkeypatch, settings=settings) as scene:
            scene.wait_for("parked", "stream.example is on a block list")
            scene.wait_until_connected(server=1)
            assert simulator.asked("streaming", 0) == simulator.asked("timeline", 0) == 0


def test_past_of_a_blocked_server_is_not_read(
    blocklist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shows P6."""
    block(blocklist, f"{STREAMED.domain},suspend")
    with Simulator(quiet(STREAMED)) as simulator:
        settings = with_list(simulator, monkeypatch, blocklist)
        [server] = settings.servers()
        sink, positions = RecordingSink(), MemoryPositions()
        with pytest.raises(PastUnreadable, match="block list"):
            PastReading(server, 0, None, settings, sink, positions).run()
        assert simulator.asked("timeline") == 0


def test_broken_list_ends_the_listener(blocklist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is recorded without it: the message names file and line. Shows P6."""
    with Simulator(quiet(STREAMED)) as simulator:
        settings = with_list(simulator, monkeypatch, blocklist)
        positions = MemoryPositions()
        listener = Listener(settings.servers(), settings, RecordingSink(), positions)

        def beat() -> None:
            blocklist.write_text("half a line of\n")

        with pytest.raises(SettingsError, match="line 1: 'half a line of'"):
            listener.run(beat, 0.05)
        with pytest.raises(SettingsError, match=r"blocks\.csv"):
            Listener(settings.servers(), settings, RecordingSink(), positions)


def with_list(simulator: Simulator, monkeypatch: pytest.MonkeyPatch, blocklist: Path) -> Settings:
    settings = simulator_settings(simulator, monkeypatch)
    return settings.model_copy(update={"blocklist": (blocklist,)})
