"""The demo's simulated Fediverse: its program, its truth, and the settings to listen to it."""

import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from infra.native_stack import Program
from infra.native_stack.programs import REPOSITORY

ServerHour = tuple[str, str]
"""An hour (`2026-11-24-09`, UTC) and a home server."""


@dataclass(frozen=True, slots=True)
class SimulatedFediverse:
    """What is simulated, and on which ports: the servers from `first_port`, and the control API."""

    servers: int
    toots: int
    hours: float
    seed: int
    first_port: int
    control_port: int
    calm: bool = False
    """Whether events come at once and in order, to measure what comes after them."""
    seconds: float = 20.0
    """How long the publication of the past hours takes."""
    host: str = "127.0.0.1"
    """Where the control API is reached."""

    @property
    def control_url(self) -> str:
        """The base URL of the simulator's control API."""
        return f"http://{self.host}:{self.control_port}"

    @property
    def ports(self) -> range:
        """The servers' ports."""
        return range(self.first_port, self.first_port + self.servers)

    def listening_environment(self) -> dict[str, str]:
        """Return the pipeline's settings to listen to it, with newly generated tokens."""
        return {
            "MASTODON_SERVERS": ",".join(f"http://127.0.0.1:{port}" for port in self.ports),
            "MASTODON_ALLOW_PRIVATE_ADDRESSES": "true",
            "MASTODON_POLL_INTERVAL_SECONDS": "1",
            **{
                f"MASTODON_TOKEN_127_0_0_1_{port}": secrets.token_urlsafe(24)
                # The second of every three servers gives no token: it is polled.
                for number, port in enumerate(self.ports)
                if number % 3 != 1
            },
        }

    def program(self, environment: Mapping[str, str]) -> Program:
        """Return the simulator as a program; it publishes once every server has a listener."""
        return Program(
            name="simulator",
            command=(
                *(sys.executable, "-m", "infra.simulator"),
                *("--servers", str(self.servers), "--toots", str(self.toots)),
                *("--hours", str(self.hours), "--seed", str(self.seed)),
                *("--speed", str(self.hours * 3600 / self.seconds)),
                *("--first-port", str(self.first_port)),
                *("--control-port", str(self.control_port)),
                *(("--calm",) if self.calm else ()),
            ),
            ready=self.answers,
            directory=REPOSITORY,
            environment=environment,
            address=self.control_url,
            ports=(self.control_port, *self.ports),
        )

    def answers(self) -> bool:
        """Return whether the simulator answers."""
        try:
            return self.status() is not None
        except httpx.HTTPError:
            return False

    def status(self) -> Any:
        """Return the simulator's status: progress of publication, listeners by server."""
        return httpx.get(f"{self.control_url}/status", timeout=5).raise_for_status().json()

    def truth(self) -> dict[ServerHour, int]:
        """Return how many toots were published, by hour and home server."""
        url = f"{self.control_url}/truth/toots_per_server_per_hour"
        rows = httpx.get(url, timeout=30).raise_for_status().json()
        return {(row["hour"], row["server"]): row["toots"] for row in rows}

    def publish_live(self, toots_per_second: float) -> None:
        """Keep publishing in real time, so that there is something to watch."""
        url = f"{self.control_url}/live"
        httpx.post(url, params={"rate": toots_per_second}, timeout=5).raise_for_status()
