"""Streams over a WebSocket, where a server (GoToSocial) offers no server-sent events.

Each message is a JSON object with `stream`, `event` and `payload`; the payload is JSON in a string,
or a delete's bare id. See: https://docs.joinmastodon.org/methods/streaming/#websocket
"""

import aiohttp
import msgspec

from mastodon_pipeline.errors import UndecodableStatus, Unreachable
from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.client.reasons import network_reason
from mastodon_pipeline.listening.following.discovery import Way
from mastodon_pipeline.listening.following.events import BlockStreamListener
from mastodon_pipeline.listening.protocol.sse import ServerSentEvent
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


async def follow_messages(
    way: Way, token: str, listener: BlockStreamListener, connections: Connections
) -> None:
    """Hands the listener each message until the server closes.

    A server that does not answer to a ping within 15 s counts as gone. Raises as
    `streaming.follow_events` does.
    """
    url = f"{way.streaming_url}/api/v1/streaming?stream={_STREAMS[way.feed]}"
    async with connections.websocket("ws" + url.removeprefix("http"), token) as socket:
        listener.on_connected()
        async for message in socket:
            if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                take_message(message.data, listener)
                listener.handle_heartbeat()
        error = socket.exception()
        if error is not None:
            listener.on_abort(error if isinstance(error, Exception) else OSError(str(error)))
            raise Unreachable(f"the WebSocket broke: {network_reason(error)}")


def take_message(data: bytes, listener: BlockStreamListener) -> None:
    """Hands the listener the event in a message, or what could not be understood of it.

    Raises Unreachable for an error that the server tells in a message, and DeliveryFailed.
    """
    try:
        message = _message.decode(data)
        if message.error is not None and not message.event:
            raise Unreachable(f"the server answers {message.error[:200]!r}")
        payload = _payload(message.payload)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        event = ServerSentEvent("message", data)
        listener.on_undecodable(event, UndecodableStatus(f"no message of a stream: {error}"))
        return
    listener.take(ServerSentEvent(message.event or "message", payload))


def _payload(raw: msgspec.Raw) -> bytes:
    value = bytes(raw)
    # Some send the object itself: it is its own JSON.
    return _string.decode(value).encode("utf-8") if value.startswith(b'"') else value
