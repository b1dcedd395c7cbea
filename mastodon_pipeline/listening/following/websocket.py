"""Streams over a WebSocket, for servers without server-sent events (GoToSocial).

Each message is a JSON object with `stream`, `event` and `payload`; the payload is JSON in a string,
or the bare id of a delete. See: https://docs.joinmastodon.org/methods/streaming/#websocket
"""

from collections.abc import Callable

import aiohttp
import msgspec

from mastodon_pipeline.errors import UndecodableStatus, Unreachable
from mastodon_pipeline.foreign_text import clean_line
from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.client.reasons import network_reason
from mastodon_pipeline.listening.following.mode import Mode
from mastodon_pipeline.listening.following.recorder import TootRecorder
from mastodon_pipeline.servers import Feed

_STREAMS: dict[Feed, str] = {
    "public": "public",
    "local": "public:local",
    "remote": "public:remote",
}


class _Message(msgspec.Struct):
    event: str = ""
    payload: msgspec.Raw = msgspec.Raw()
    error: str | None = None


_message = msgspec.json.Decoder(_Message)
_string = msgspec.json.Decoder(str)


def websocket_url(mode: Mode) -> str:
    """Return the WebSocket URL of the feed."""
    base_url = "ws" + mode.streaming_url.removeprefix("http")
    return f"{base_url}/api/v1/streaming?stream={_STREAMS[mode.feed]}"


async def follow_websocket(
    mode: Mode,
    token: str,
    recorder: TootRecorder,
    connections: Connections,
    on_open: Callable[[], None],
) -> None:
    """Record the WebSocket's events until the server closes it; call `on_open` once it is open.

    A server that does not answer a ping counts as gone: the connection breaks.
    Raises the same errors as `follow_stream`.
    """
    async with connections.websocket(websocket_url(mode), token) as socket:
        on_open()
        async for message in socket:
            recorder.statistics.note_activity()
            if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                recorder.statistics.traffic.received_bytes += len(message.data)
                take_message(message.data, recorder)
        error = socket.exception()
        if error is not None:
            raise Unreachable(f"the WebSocket broke: {network_reason(error)}")


def take_message(data: bytes, recorder: TootRecorder) -> None:
    """Record the event in a message; a message that is not one becomes a dead letter.

    Raises Unreachable if the message is an error of the server, and DeliveryFailed.
    """
    try:
        message = _message.decode(data)
        if message.error is not None and not message.event:
            raise Unreachable(f"the server answers {clean_line(message.error)!r}")
        payload = _payload(message.payload)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        recorder.dead_letter(data, "message", UndecodableStatus(f"not a stream message: {error}"))
        return
    recorder.take(payload, message.event or "message", "stream")


def _payload(raw: msgspec.Raw) -> bytes:
    value = bytes(raw)
    # Some servers send the object itself instead of a string of JSON.
    return _string.decode(value).encode("utf-8") if value.startswith(b'"') else value
