"""`python -m infra.simulator` as the demo uses it."""

import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from mastodon_pipeline.servers import parse_server
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

COMMAND = (sys.executable, "-m", "infra.simulator")


@contextmanager
def running(settings: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command on free ports; yield once it has written its settings."""
    command = [*COMMAND, "--first-port", "0", "--control-port", "0", "--tokens-file", str(settings)]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            wait_until(
                lambda: settings.exists() or process.poll() is not None, "settings are written", 20
            )
            assert process.poll() is None
            yield process
        finally:
            process.kill()


def read(settings: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in settings.read_text().splitlines())
    return {name: value for name, _, value in pairs}


def control_url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if "status, truth, faults" in line:
            return line.split()[0]
    raise AssertionError("the control port was not announced")


def status(control: str) -> Any:
    return requests.get(f"{control}/status", timeout=300).json()


def test_tokens_file_is_private_and_tokens_are_not_printed(tmp_path: Path) -> None:
    """Variables are named as the pipeline reads them."""
    settings = tmp_path / "simulated.env"
    with running(settings, "--toots", "10") as process:
        assert stat.S_IMODE(settings.stat().st_mode) == 0o600
        values = read(settings)
        servers = [parse_server(url) for url in values["MASTODON_SERVERS"].split(",")]
        tokens = [values.get(server.token_env) for server in servers]
        assert [token is not None for token in tokens] == [True, False, True]
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=900)
        assert all(token not in printed for token in tokens if token)
        assert servers[0].base_url in printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_simulator_with_an_open_stream(
    tmp_path: Path, number: signal.Signals
) -> None:
    """At once, with exit code 0: the stream would last for minutes."""
    settings = tmp_path / "simulated.env"
    with running(settings, "--toots", "10") as process:
        values = read(settings)
        server = parse_server(values["MASTODON_SERVERS"].split(",")[0])
        stream = requests.get(
            f"{server.base_url}/api/v1/streaming/public/local",
            headers={"Authorization": f"Bearer {values[server.token_env]}"},
            stream=True,
            timeout=300,
        )
        with stream:
            assert stream.status_code == 200
            process.send_signal(number)
            assert process.wait(timeout=900) == 0


def test_control_api_reports_the_truth_and_controls_publication(tmp_path: Path) -> None:
    """Start, wait for the end, compare counts, then publish live."""
    with running(
        tmp_path / "s.env", "--toots", "30", "--speed", "inf", "--start", "control"
    ) as process:
        control = control_url(process)
        assert requests.get(f"{control}/truth", timeout=300).text == ""
        requests.post(f"{control}/start", timeout=300).raise_for_status()
        wait_until(lambda: status(control)["done"], "all toots are published")
        lines = requests.get(f"{control}/truth", timeout=300).text.splitlines()
        rows = requests.get(f"{control}/truth/toots_per_server_per_hour", timeout=300).json()
        assert len(lines) == 30 == sum(row["toots"] for row in rows)
        requests.post(f"{control}/live", params={"rate": 100}, timeout=300).raise_for_status()
        wait_until(lambda: status(control)["published"] > 35, "live toots are published")
        wrong = requests.post(f"{control}/fault", params={"kind": "no"}, timeout=300)
        assert wrong.status_code == 400
        assert "GET  /status" in wrong.text


def test_port_in_use_is_reported_in_one_line(tmp_path: Path) -> None:
    """It names the port and the option."""
    settings = tmp_path / "s.env"
    with running(settings, "--servers", "1"):
        port = read(settings)["MASTODON_SERVERS"].rpartition(":")[2]
        second = subprocess.run(
            [*COMMAND, "--first-port", port, "--control-port", "0"],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert second.returncode == 2
    assert len(second.stderr.splitlines()) == 1
    assert f"port {port}" in second.stderr
