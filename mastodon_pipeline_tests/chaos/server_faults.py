"""What the servers do: their clocks step."""

from mastodon_pipeline_tests.chaos.fault import Fault
from mastodon_pipeline_tests.chaos.pipeline import Pipeline

CLOCK_STEP_SECONDS = 10.0


def step_clocks(pipeline: Pipeline) -> None:
    """Set every other server's clock ahead, and the rest back.

    A toot may then be listed ten seconds below others. A polled local feed meets all that is listed
    up to 15 s late (G1); steps of 40 s, there and back, have lost toots of one.
    """
    for number, server in enumerate(pipeline.simulator.servers):
        server.clock_seconds = CLOCK_STEP_SECONDS * (-1) ** number


def set_clocks_right(pipeline: Pipeline) -> None:
    for server in pipeline.simulator.servers:
        server.clock_seconds = 0.0


SERVER_FAULTS = {
    "servers' clocks step": Fault(
        (10, 60), step_clocks, Pipeline.listens, ("listener",), set_clocks_right
    )
}
