"""Simulated servers that publish when a test makes them, with and without faults."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from infra.simulator.faults import Endpoint
from infra.simulator.fediverse import Options
from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from infra.simulator.weather import Weather
from mastodon_pipeline.settings import Settings

STREAMED = ServerPolicy("stream.example", remote_feed="authenticated", thump_seconds=0.1)
"""Sends heartbeats more often than a test's listener calls it silent."""
POLLED = ServerPolicy("poll.example", token=False, remote_feed="authenticated")
ENDPOINTS: tuple[Endpoint, ...] = ("instance", "timeline", "streaming")
BREEZE = Weather(event_seconds=0.15, listing_seconds=0.3)
"""Ordinary weather in tests' time: late and out of order, but soon."""
CONTACT = "https://example.org/about-this-client"
SHORT_RESET: dict[str, Any] = {"reset": "iso", "reset_seconds": 0.1}
"""A rate limit that is over soon: pages of a server without one are read every three seconds."""


def quiet(*servers: ServerPolicy, weather: Weather = BREEZE) -> Options:
    """Return options without planned toots; by default for a single server."""
    return Options(servers=servers or (STREAMED,), toots=0, start="control", weather=weather)


def policy_for(endpoint: Endpoint, name: str) -> ServerPolicy:
    """Return a server that cannot be followed while this endpoint has a fault."""
    return replace(POLLED if endpoint == "timeline" else STREAMED, domain=f"{name}.example")


def inject_faults(
    simulator: Simulator, faults: Sequence[dict[str, Any]], kind: str = "answer"
) -> range:
    """Give each server, in order, a fault; return the servers' positions."""
    for server, details in enumerate(faults):
        simulator.fault(kind, server, **{"seconds": 60} | details)
    return range(len(faults))


def simulator_settings(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return the settings for listening to the simulator; set its tokens in the environment."""
    for name, value in simulator.environment.items():
        monkeypatch.setenv(name, value)
    return Settings(mastodon_poll_interval_seconds=0.2, mastodon_contact=CONTACT)
