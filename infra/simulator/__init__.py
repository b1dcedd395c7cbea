"""A simulated Fediverse: Mastodon servers on loopback, and the truth of what they published.

The demo and the tests listen to it. It runs as a program, `python -m infra.simulator`, or in a test
as a context manager:

    with Simulator(Options(toots=500, speed=float("inf"))) as simulator:
        ...  # listen to simulator.environment["MASTODON_SERVERS"]
        simulator.wait_until_done()
        assert counted == simulator.toots_per_server_per_hour()
"""

from infra.simulator.fediverse import Options, default_servers
from infra.simulator.instance import ServerPolicy, gotosocial
from infra.simulator.limits import Limits, Rate
from infra.simulator.simulator import Simulator
from infra.simulator.truth import ServerHour, TrueToot

__all__ = [
    "Limits",
    "Options",
    "Rate",
    "ServerHour",
    "ServerPolicy",
    "Simulator",
    "TrueToot",
    "default_servers",
    "gotosocial",
]
