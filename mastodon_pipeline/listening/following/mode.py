"""In which mode a server is followed: stream, WebSocket, polling, or not at all for now."""

from dataclasses import dataclass, replace
from typing import Literal

from mastodon_pipeline.errors import Refused
from mastodon_pipeline.listening.following.instance import TOKEN_REFUSALS, Access, InstanceInfo
from mastodon_pipeline.servers import Feed, Server

STREAM_REFUSALS = frozenset({400, 401, 403, 404, 405, 410, 422, 426, 501})
"""HTTP errors of a stream that another attempt will not change."""
PARKING_REFUSALS = frozenset({401, 403, 404, 410, 422})
"""The same for a timeline: the server is parked, and asked again an hour later."""
NO_EVENT_STREAM = frozenset({400, 404, 405, 426, 501})
"""HTTP errors of an event stream after which a WebSocket is tried.

GoToSocial answers 404 or 400: its streaming address requires the upgrade to a WebSocket.
"""
_LOGIN_REFUSALS = frozenset({401, 422})
"""HTTP errors of what is shown to logged-in people only: GoToSocial's, and Mastodon's."""


@dataclass(frozen=True, slots=True)
class Refusals:
    """How a server has refused modes so far; None for a mode that it has not refused."""

    stream: Refused | None = None
    websocket: Refused | None = None
    wider_feed: Refused | None = None
    """How it refused to have more than its local feed polled."""


NO_REFUSALS = Refusals()


@dataclass(frozen=True, slots=True)
class Mode:
    """How a server is followed, and why."""

    kind: Literal["stream", "websocket", "poll", "park"]
    reason: str
    with_token: bool = False
    streaming_url: str = ""
    """For streams and WebSockets, without the path."""
    feed: Feed = "local"
    """The configured feed, or less if the server does not offer it."""
    note: str = ""
    """What is unusual: less than the configured feed, or a server that does not describe itself."""

    @property
    def words(self) -> str:
        """The reason with the note, for people."""
        return "; ".join(filter(None, (self.reason, self.note)))


def choose_mode(
    server: Server, info: InstanceInfo, has_token: bool, refusals: Refusals = NO_REFUSALS
) -> Mode:
    """Choose streaming if there is a token and the server allows it, else polling, else park."""
    feed, note = _offered_feed(server.feed, info)
    if feed is None:
        return Mode("park", f"the server has disabled its {server.feed} feed")
    access = feed_access(feed, info)
    streaming_url = info.streaming_url or server.base_url
    stream, websocket = refusals.stream, refusals.websocket
    if has_token and stream is None:
        return Mode("stream", "there is a token", True, streaming_url, feed, note)
    refused = websocket or stream
    if has_token and refused is not None and refused.status not in TOKEN_REFUSALS:
        if websocket is None and refused.status in NO_EVENT_STREAM:
            reason = f"there is a token, and no event stream ({refused})"
            return Mode("websocket", reason, True, streaming_url, feed, note)
        return Mode("poll", f"it does not stream ({refused})", True, "", feed, note)
    reason = f"it refuses the token ({refused})" if refused else "there is no token"
    if access == "public" and refusals.wider_feed is None:
        return Mode("poll", reason, feed=feed, note=note)
    if feed == "public" and info.local_access == "public":
        return Mode("poll", f"{reason}, so it shows us only its local toots", feed="local")
    if refused:
        hint = f"is the token in {server.token_env} still valid?"
        return Mode("park", f"it refuses the token ({refused}); {hint}")
    return Mode("park", f"its {feed} feed needs a token: {_token_hint(server)}", note=note)


def _token_hint(server: Server) -> str:
    return f"set {server.token_env}, or run mastodon-pipeline login {server.base_url}"


def described(mode: Mode, failure: str) -> Mode:
    """Return the mode with a note if the server does not describe itself, for this reason."""
    if not failure:
        return mode
    note = f"it does not describe itself ({failure}), so open feeds are assumed"
    return replace(mode, note="; ".join(filter(None, (mode.note, note))))


def after_refusal(refusals: Refusals, mode: Mode, refused: Refused) -> Refusals | None:
    """Return the refusals to choose the next mode by, now that a server has refused this one.

    None if no other mode is worth a try: the server is down, wants a pause, or refuses us.
    """
    if refused.is_bot_wall:
        return None
    # Not the exception itself: its traceback would keep the whole connection alive.
    refused = Refused(refused.status, refused.reason)
    if mode.kind == "stream" and refused.status in STREAM_REFUSALS:
        return replace(refusals, stream=refused)
    if mode.kind == "websocket" and refused.status in STREAM_REFUSALS:
        return replace(refusals, websocket=refused)
    wider = mode.kind == "poll" and mode.feed == "public" and not mode.with_token
    if wider and refused.status in PARKING_REFUSALS:
        return replace(refusals, wider_feed=refused)
    return None


def refusal_reason(server: Server, refused: Refused, has_token: bool) -> str:
    """Describe an HTTP error to a person: the response, and what it may mean."""
    reason = f"the server answers {refused}"
    if refused.is_bot_wall:
        wall = "Cloudflare" if "CF-Ray" in refused.headers else "a bot wall"
        return (
            f"{reason} with a page for people, so {wall} stands before it: if it does not pass,"
            " ask its admin to let the User-Agent mastodon-pipeline through"
        )
    if refused.status == 410:
        return f"{reason}: it has been retired"
    if refused.status == 401 and has_token:
        return f"{reason}; is the token in {server.token_env} still valid?"
    if refused.status in _LOGIN_REFUSALS:
        if has_token:
            return f"{reason}; is the token in {server.token_env} a person's?"
        return f"{reason}: it shows this only to people with an account: {_token_hint(server)}"
    return reason


def _offered_feed(feed: Feed, info: InstanceInfo) -> tuple[Feed | None, str]:
    """Return the feed, or the half of a public one that is not disabled with a note that says so.

    None if it is disabled as a whole: its stream would stay open and silent.
    """
    local, remote = (access != "disabled" for access in (info.local_access, info.remote_access))
    if feed == "public" and local != remote:
        half: Feed = "local" if local else "remote"
        missing = "remote" if local else "local"
        return (
            half,
            f"the server has disabled its {missing} feed, so only its {half} toots are read",
        )
    offered = {"local": local, "remote": remote, "public": local and remote}[feed]
    return (feed if offered else None), ""


def feed_access(feed: Feed, info: InstanceInfo) -> Access:
    """Return who may read a feed, by what the server says."""
    if feed == "local":
        return info.local_access
    if feed == "remote":
        return info.remote_access
    both = {info.local_access, info.remote_access}
    return next(level for level in ("disabled", "authenticated", "public") if level in both)
