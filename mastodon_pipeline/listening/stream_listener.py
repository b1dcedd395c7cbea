"""Mastodon.py's `StreamListener`, reading blocks instead of bytes and decoding only what we keep.

The stock listener reads byte by byte and casts every field: 100 to 130 toots a second on a core.
The callbacks keep their names; `on_update` and `on_status_update` get our typed `Status`, and
`on_delete` the id as text, for ids are opaque.
"""

from contextlib import suppress
from threading import Lock
from typing import Any

import requests
import urllib3
from mastodon import MastodonNetworkError, StreamListener
from mastodon.errors import MastodonReadTimeout

from mastodon_pipeline.listening.sse import EventParser, ServerSentEvent
from mastodon_pipeline.listening.statuses import Status, UndecodableStatus, decode_status
from mastodon_pipeline.listening.toot_sink import DeliveryFailed

_BLOCK_BYTES = 64 * 1024


class BlockStreamListener(StreamListener):
    """Reads one stream at a time; subclasses say what happens with the events.

    A payload that cannot be decoded, or that its callback fails on, goes to `on_undecodable` and
    the stream goes on. Only DeliveryFailed ends it: then nothing more can be recorded.
    """

    def __init__(self) -> None:
        super().__init__()
        self._response: requests.Response | None = None
        self._lock = Lock()
        self._interrupted = False

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

    def interrupt(self) -> None:
        """Ends the stream now, from any thread, even while it is blocked in a read; for good."""
        with self._lock:
            self._interrupted = True
            if self._response is not None:
                # These say that it has just ended by itself.
                with suppress(ValueError, RuntimeError, OSError):
                    self._response.raw.shutdown()

    def handle_stream(self, response: requests.Response) -> None:
        """Reads the stream until it ends.

        Called by Mastodon.py's `stream_public` with the open response. Raises
        MastodonReadTimeout, MastodonNetworkError, after `on_abort`.
        """
        with self._lock:
            if self._interrupted:
                return
            self._response = response
        try:
            encoding = response.headers.get("Content-Encoding", "identity")
            if encoding != "identity":
                raise self._aborting(MastodonNetworkError(f"a stream compressed as {encoding}"))
            self.on_connected()
            self._read(response)
        finally:
            with self._lock:
                self._response = None

    def _read(self, response: requests.Response) -> None:
        parser = EventParser()
        heard = 0
        try:
            while block := response.raw.read1(_BLOCK_BYTES):
                for event in parser.feed(block):
                    self._take_event(event)
                if parser.comments > heard:
                    heard = parser.comments
                    self.handle_heartbeat()
        except (urllib3.exceptions.ReadTimeoutError, TimeoutError):
            if not self._interrupted:
                raise self._aborting(
                    MastodonReadTimeout("the server has been silent for too long")
                ) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            if not self._interrupted:
                raise self._aborting(
                    MastodonNetworkError(f"the stream broke: {type(error).__name__}: {error}")
                ) from None

    def _aborting(self, error: MastodonNetworkError) -> MastodonNetworkError:
        self.on_abort(error)
        return error

    def _take_event(self, event: ServerSentEvent) -> None:
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
