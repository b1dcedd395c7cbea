"""Requests to a simulated server's API."""

from typing import Any

import requests

from infra.simulator.server import SimulatedServer

INSTANCE, TIMELINE, STREAM = "v2/instance", "v1/timelines/public", "v1/streaming/public/local"


def get(server: SimulatedServer, path: str, **options: Any) -> requests.Response:
    """Send a GET request with the user's token."""
    headers = {"Authorization": f"Bearer {server.tokens.user}"}
    return requests.get(f"{server.base_url}/api/{path}", headers=headers, timeout=300, **options)
