"""What the robots.txt of a server's hosts means for the modes in which it may be followed.

A server that refuses what every listener asks for is parked with the reason. One whose streaming
host refuses streams is polled instead.
"""

from urllib.parse import urlsplit

from mastodon_pipeline.errors import RefusedByRobots, RobotsUnreadable
from mastodon_pipeline.listening.client.robots import API_PATHS, HostRules, RobotsFiles
from mastodon_pipeline.listening.following.mode import Mode
from mastodon_pipeline.listening.following.streaming import stream_url
from mastodon_pipeline.servers import Server


async def refusal_of_api(server: Server, robots: RobotsFiles) -> str:
    """Return why the server must not be asked, and what to do; '' if it may be.

    Raises as `RobotsFiles.rules` does.
    """
    return (await robots.rules(server.base_url)).refusal(API_PATHS)


async def refusal_of_stream(mode: Mode, robots: RobotsFiles) -> RefusedByRobots | None:
    """Return why the mode's stream must not be opened, or None if it may be, or it has none."""
    if mode.kind not in ("stream", "websocket"):
        return None
    path = "/api/v1/streaming" if mode.kind == "websocket" else urlsplit(stream_url(mode)).path
    try:
        rules = await robots.rules(streaming_host(mode.streaming_url))
    except RobotsUnreadable as error:
        return RefusedByRobots(str(error))
    # The streaming URL may have a path of its own, for which no rule was looked up.
    refusal = rules.refusal([path[path.find("/api/v1/streaming") :]])
    return RefusedByRobots(refusal) if refusal else None


def known_rules(server: Server, streaming_url: str, robots: RobotsFiles) -> tuple[HostRules, ...]:
    """Return what is known of the server's hosts, to be saved with its position."""
    hosts = dict.fromkeys((server.base_url, streaming_host(streaming_url or server.base_url)))
    return tuple(rules for host in hosts if (rules := robots.known(host)) is not None)


def streaming_host(streaming_url: str) -> str:
    """Return the base URL of the host of streams."""
    parts = urlsplit(streaming_url)
    return f"{parts.scheme}://{parts.netloc}"
