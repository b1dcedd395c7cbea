"""`mastodon-pipeline listen`, as a person runs it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.cli.listen import listen as listen_command
from mastodon_pipeline.cli.printing import toot_line
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline_tests.support.simulated_servers import quiet
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

STREAMED = ServerPolicy("stream.example")
LOCKED = ServerPolicy("locked.example", token=False, local_feed="authenticated")


def wait_for_stream(simulator: Simulator) -> None:
    # And until the timeline has been read for what came before: a toot in between is read twice.
    server = simulator.servers[0]
    simulator.wait_until(lambda: len(server.streams) > 0 and server.served["polls"] > 0)


@contextmanager
def listen(
    simulator: Simulator, arguments: Sequence[str] = ()
) -> Iterator["subprocess.Popen[str]"]:
    """Run the command in a separate process, which does not outlive the test."""
    url = simulator.servers[0].base_url
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from mastodon_pipeline.cli.main import main; main()",
            "listen",
            "--base-url",
            url,
            *arguments,
        ],
        env=os.environ | simulator.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_listen_prints_each_toot_until_ctrl_c_or_sigterm(ending: signal.Signals) -> None:
    """It ends with a summary and no traceback."""
    with Simulator(quiet(STREAMED)) as simulator, listen(simulator) as process:
        wait_for_stream(simulator)
        simulator.publish()
        assert process.stdout is not None
        assert "@stream.example" in process.stdout.readline()
        process.send_signal(ending)
        out, err = process.communicate(timeout=900)
        assert process.returncode == 0
        assert out == ""
        assert "1 toots, 0 deletes, 0 not decodable" in err
        assert "Traceback" not in err


def test_watchdog_ends_listen_if_no_toot_comes() -> None:
    """So that a supervisor can start it again."""
    with (
        Simulator(quiet(STREAMED)) as simulator,
        listen(simulator, ["--watchdog", "1"]) as process,
    ):
        _, err = process.communicate(timeout=900)
        assert process.returncode == 1
        assert "no toot from 127.0.0.1" in err


def test_listen_ends_with_the_reason_if_the_server_is_parked() -> None:
    """Rather than waiting in silence for an hour."""
    with Simulator(quiet(LOCKED)) as simulator, listen(simulator, ["--quiet"]) as process:
        _, err = process.communicate(timeout=900)
        assert process.returncode == 1
        assert "needs a token: set MASTODON_TOKEN_127_0_0_1_" in err
        assert "Traceback" not in err


def test_listen_ends_once_its_output_is_closed() -> None:
    """As by `| head -1`."""
    with Simulator(quiet(STREAMED)) as simulator, listen(simulator) as process:
        wait_for_stream(simulator)
        assert process.stdout is not None
        process.stdout.close()

        def ended() -> bool:
            simulator.publish()
            return process.poll() is not None

        wait_until(ended, "the end")
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_listen_takes_the_options_as_the_article_spells_them() -> None:
    arguments = ["--baseURL", "https://mastodon.social", "--public", "--enableKafka"]
    article = listen_command.make_context("listen", arguments).params
    arguments = ["--base-url", "https://mastodon.social", "--public", "--enable-kafka"]
    assert article == listen_command.make_context("listen", arguments).params
    assert article["base_url"] == "https://mastodon.social"
    assert article["enable_kafka"]


def test_toot_cannot_steer_the_terminal() -> None:
    """Escape sequences in another server's text are shown, not executed."""
    record = TootRecord(
        username="ann\x1b[31m",
        server="a.example",
        language="en",
        mastodon_text="red \x1b[31m alert\nnext",
    )
    line = toot_line(record)
    assert line.isprintable()
    assert line == "1970-01-01 00:00:00 ann[31m@a.example [en] red �[31m alert next"
