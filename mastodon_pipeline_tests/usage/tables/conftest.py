"""What tests of the tables share: servers that report their activity, or do not."""

from collections.abc import Iterator

import pytest

from infra.simulator.fediverse import Options
from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator


@pytest.fixture(scope="package")
def servers() -> Iterator[Simulator]:
    """One server that reports its activity, one that has it switched off, one that is closed."""
    reporting = ServerPolicy("reporting.example")
    silent = ServerPolicy("silent.example", activity=False)
    closed = ServerPolicy("closed.example", closed=True, activity=False)
    options = Options(servers=(reporting, silent, closed), toots=60, hours=120, speed=float("inf"))
    with Simulator(options) as simulator:
        simulator.start_publishing()
        simulator.wait_until_done()
        yield simulator
