"""A listener in a thread, as a listener run has one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mastodon_pipeline.listening.following.listener import Listener
from mastodon_pipeline.listening.topic.opening import open_listener
from mastodon_pipeline.settings import Settings


@contextmanager
def running_listener(settings: Settings) -> Iterator[Listener]:
    """Run the listener of the settings' servers, as a listener run does; stop it at the end."""
    listener = open_listener(settings.servers(), settings)
    thread = threading.Thread(target=listener.run, kwargs={"beat_seconds": 0.1})
    thread.start()
    try:
        yield listener
    finally:
        listener.stop()
        thread.join(900)
        assert not thread.is_alive(), "the listener did not stop within 15 minutes"
