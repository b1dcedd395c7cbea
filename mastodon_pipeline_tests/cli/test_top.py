"""`mastodon-pipeline top`: its picture, and what it reads of a real Kafka."""

import io
import os
import pty
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from rich.console import Console

from infra.native_stack import Stack
from mastodon_pipeline.cli.main import cli
from mastodon_pipeline.cli.top import table
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.listening.topic.activity import Activity, ServerActivity
from mastodon_pipeline.listening.topic.topics import ensure_listening_topics
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.kafka_topics import with_new_topics
from mastodon_pipeline_tests.support.processes import CLI
from mastodon_pipeline_tests.support.producing import produce
from mastodon_pipeline_tests.support.waiting import wait_until

NOW = 1_790_000_040_000


@pytest.fixture
def settings(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The stack's settings, with topics that no other test uses."""
    return with_new_topics(monkeypatch, "top")


def shown(activity: Activity, states: dict[str, str], outage: str = "") -> str:
    console = Console(file=io.StringIO(), width=120, markup=True)
    console.print(table(activity, states, NOW, outage))
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def test_picture_has_servers_languages_hashtags_and_states() -> None:
    row = ServerActivity("one.example", 7, 42, NOW - 3000, 1234)
    activity = Activity([row], [("de", 40), ("", 2)], [("news", 9, 1.5)])
    lines = shown(activity, {"one.example": "streaming", "mute.example": "parked"}).splitlines()
    assert "7 toots in the last minute, 42 in the hour" in lines[0]
    assert any(
        line.split() == ["one.example", "7", "42", "3", "s", "ago", "1.2", "s", "streaming"]
        for line in lines
    )
    assert any(line.split() == ["mute.example", "0", "0", "parked"] for line in lines)
    assert any(line.split() == ["de", "40", "#news", "9", "1.5"] for line in lines)
    assert any(line.split()[:2] == ["unknown", "2"] for line in lines)


def test_words_of_strangers_are_text_in_the_terminal() -> None:
    """Neither rich's markup nor a terminal's control characters, however long."""
    row = ServerActivity("[red]x[/red]\x1b[2J" + "y" * 500, 1, 1, NOW, None)
    output = shown(Activity([row], [("[link=x]", 1)], [("\x07[bold]", 9, 0.0)]), {}, "\x1b]0;x\x07")
    assert "[red]x[/red]" in output
    assert "[link=x]" in output
    assert "#\N{REPLACEMENT CHARACTER}[bold]" in output
    assert not {"\x1b", "\x07"} & set(output)
    assert max(map(len, output.splitlines())) <= 120


def test_last_hour_of_the_topic_is_counted(settings: Settings) -> None:
    send(settings, 30)
    result = CliRunner().invoke(cli, ["top"])
    assert result.exit_code == 0, result.output
    assert "30 in the hour" in result.stdout


def test_picture_follows_the_topic_until_ctrl_c(settings: Settings) -> None:
    """In a terminal: toots that arrive meanwhile are in it, and the terminal is put back."""
    send(settings, 5)
    screen, terminal = pty.openpty()
    with subprocess.Popen([sys.executable, *CLI, "top"], stdout=terminal) as process:
        os.close(terminal)
        output = bytearray()

        def has(text: bytes) -> bool:
            output.extend(os.read(screen, 65536))
            return text in output

        wait_until(lambda: has(b"5 in the hour"), "the first picture", 1200)
        send(settings, 4, first=100)
        wait_until(lambda: has(b"9 in the hour"), "the new toots")
        process.send_signal(signal.SIGINT)
        wait_until(lambda: has(b"\x1b[?1049l"), "the former screen")
        assert process.wait(900) == 0
    os.close(screen)


def send(settings: Settings, toots: int, first: int = 0) -> None:
    ensure_listening_topics(settings)
    now = time.time_ns() // 1_000_000
    records = [
        TootRecord(
            event="update",
            uri=f"https://one.example/{number}",
            status_id=str(number),
            base_url="https://one.example",
            server="one.example",
            created_at=now,
            ingested_at=now,
        )
        for number in range(first, first + toots)
    ]
    produce(settings, records)
