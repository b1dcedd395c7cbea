"""Simulated servers that publish on demand only, and requests to their API."""

from typing import Any

import requests

from infra.simulator.fediverse import Options
from infra.simulator.instance import ServerPolicy
from infra.simulator.server import SimulatedServer

INSTANCE, TIMELINE, STREAM = "v2/instance", "v1/timelines/public", "v1/streaming/public/local"


def quiet(*servers: ServerPolicy) -> Options:
    """Return options without planned toots; by default for a single server."""
    return Options(servers=servers or (ServerPolicy("harbour.example"),), toots=0, start="now")


def get(server: SimulatedServer, path: str, **options: Any) -> requests.Response:
    """Send a GET request with the user's token."""
    headers = {"Authorization": f"Bearer {server.tokens.user}"}
    return requests.get(f"{server.base_url}/api/{path}", headers=headers, timeout=10, **options)
