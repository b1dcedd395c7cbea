"""How late a server's rows and events come: what a client has to live with on any ordinary day.

Seen on Mastodon 4.5 and GoToSocial 0.21. Mastodon's streaming server filters each event in the
database, on several connections at once, so that events are sent out of order and up to seconds
after the toot is listed; a delete may come before its toot. GoToSocial gives a toot its id at once
and lists it up to ten seconds later.
"""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Weather:
    """The longest delays, in seconds of the clock that publishes; each delay is random below."""

    event_seconds: float = 3.0
    """From a toot's listing, edit or delete to the event in the streams."""
    listing_seconds: float = 10.0
    """From a toot's id to its row in the timeline, on GoToSocial."""


ORDINARY = Weather()
CALM = Weather(0.0, 0.0)
"""Everything at once and in order, for tests and benchmarks of just that."""


class Delays:
    """A server's delays in real seconds; the same seed and weather give the same ones."""

    def __init__(self, weather: Weather, seed: str) -> None:
        self._weather = weather
        self._random = random.Random(seed)
        self.speed = 1.0
        """How much faster than real time the clock that publishes is."""

    def of_event(self) -> float:
        """Return the next delay of an event."""
        return self._random.uniform(0.0, self._weather.event_seconds) / self.speed

    def of_listing(self) -> float:
        """Return the next delay of a row."""
        return self._random.uniform(0.0, self._weather.listing_seconds) / self.speed
