"""The command line: `python -m mastodon_pipeline_tests.chaos --seed 7 --minutes 10`."""

import signal
import sys
from types import FrameType

import click

from mastodon_pipeline_tests.chaos.chaos import run_chaos


@click.command()
@click.option("--seed", default=1, show_default=True, help="Same seed, same faults.")
@click.option("--minutes", default=10.0, show_default=True, help="How long faults happen.")
@click.option("--only", default="", help="Only faults whose names contain this.")
def main(seed: int, minutes: float, only: str) -> None:
    """Damage a whole running pipeline at random; exit with 0 only if its tables equal the truth."""
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(0 if run_chaos(seed, minutes * 60, only) else 1)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt  # so that the stack is stopped


if __name__ == "__main__":
    main()
