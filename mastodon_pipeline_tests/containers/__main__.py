"""`make containers`: python -m mastodon_pipeline_tests.containers."""

import signal
import sys
from functools import partial
from types import FrameType

import click

from mastodon_pipeline_tests.containers.availability import (
    NoEngine,
    find_engine,
    require_containers,
)
from mastodon_pipeline_tests.containers.own_services import run_own_services_trial
from mastodon_pipeline_tests.containers.run_containers import run_runs_trial
from mastodon_pipeline_tests.containers.trial import run_trial


@click.command()
@click.option("--image", default="mastodon-pipeline:latest", show_default=True, help="Its name.")
def main(image: str) -> None:
    """Build the image, run everything in containers, kill them, and compare the counts."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        engine, say = find_engine(), partial(print, flush=True)
        require_containers(engine)
        run_trial(engine, image, say)
        say("the same with a Kafka and an object store of one's own")
        run_own_services_trial(engine, image, say)
        say("the same with runs in containers of their own")
        run_runs_trial(engine, image, say)
    except NoEngine as error:
        raise click.ClickException(str(error)) from None
    except AssertionError as error:
        print(error, flush=True)
        sys.exit(1)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt  # so that the containers are removed


if __name__ == "__main__":
    main()
