"""How long a listener waits for servers before it thinks ill of them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """Times in seconds; tests shorten them."""

    request_seconds: float = 20.0
    """To connect, and to the head of an answer."""
    silence_seconds: float = 60.0
    """Without a byte, after which a stream counts as dead: four of Mastodon's heartbeats."""
    parked_seconds: float = 3600.0
    """Between two looks at a server that has refused us."""
    fresh_seconds: float = 60.0
    """A refusal sooner than this after a discovery is not the sign of rules that have changed."""
    rediscover_seconds: float = 3600.0
    """How long a server's account of itself is believed, at most."""
    overlap_every_seconds: float = 300.0
    """Between two readings of the overlap on a polled feed with remote toots: half of its length,
    so that a toot that was fetched late, and listed below what was read, is met at least once."""


PATIENT = Patience()
