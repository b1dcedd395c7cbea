"""Mastodon.py's `StreamListener`, fed with blocks of bytes and decoding only what we keep.

The stock listener reads byte by byte and casts every field: 100 to 130 toots a second on a core.
The callbacks keep their names; `on_update` and `on_status_update` get our typed `Status`, and
`on_delete` the id as text, for ids are opaque.
"""

from typing import Any

from mastodon import StreamListener

from mastodon_pipeline.errors import DeliveryFailed, UndecodableStatus
from mastodon_pipeline.listening.protocol.sse import EventParser, ServerSentEvent
from mastodon_pipeline.listening.protocol.statuses import Status, decode_status


class BlockStreamListener(StreamListener):
    """Takes one stream's bytes or events; subclasses say what happens with the events.

    A payload that cannot be decoded, or that its callback fails on, goes to `on_undecodable` and
    the stream goes on. Only DeliveryFailed ends it: then nothing more can be recorded.
    """

    def __init__(self) -> None:
        super().__init__()
        self._parser = EventParser()
        self._heard = 0

    def on_connected(self) -> None:
        """The server accepted the stream; everything it publishes from now on will arrive."""

    def on_update(self, status: Status) -> None:  # type: ignore[override]  # see the module's text
        """A new toot."""

    def on_status_update(self, status: Status) -> None:  # type: ignore[override]
        """An edited toot."""

    def on_delete(self, status_id: str) -> None:  # type: ignore[override]
        """The toot with this id, on this server, was deleted."""

    def handle_heartbeat(self) -> None:
        """The server has shown that it is there."""

    def on_abort(self, err: Exception) -> None:
        """The stream broke; the error is raised right after."""

    def on_unknown_event(self, name: str, unknown_event: Any = None) -> None:
        """An event that concerns no public toot: filters, announcements, whatever comes later."""

    def on_undecodable(self, event: ServerSentEvent, error: Exception) -> None:
        """An event that could not be understood."""

    def feed(self, block: bytes) -> None:
        """Takes the stream's next bytes, wherever the network has cut them."""
        parser = self._parser
        for event in parser.feed(block):
            self.take(event)
        if parser.comments > self._heard:
            self._heard = parser.comments
            self.handle_heartbeat()

    def take(self, event: ServerSentEvent) -> None:
        """Takes one event. Raises DeliveryFailed alone."""
        try:
            if event.cut:
                raise UndecodableStatus(f"larger than {len(event.data)} bytes")
            if event.name == "update":
                self.on_update(decode_status(event.data))
            elif event.name == "status.update":
                self.on_status_update(decode_status(event.data))
            elif event.name == "delete":
                self.on_delete(_deleted_id(event.data))
            else:
                self.on_unknown_event(event.name, event.data)
        except DeliveryFailed:
            raise
        except Exception as error:
            # Whatever one event does to us, the next ones are still wanted.
            self.on_undecodable(event, error)


def _deleted_id(data: bytes) -> str:
    status_id = data.decode("utf-8").strip().strip('"')
    if not status_id or len(status_id) > 200:
        raise UndecodableStatus("a delete without an id")
    return status_id
