"""The command line: `python -m mastodon_pipeline_tests.chaos --seed 7 --minutes 10`."""

import sys

import click

from mastodon_pipeline_tests.chaos.chaos import run_chaos


@click.command()
@click.option("--seed", default=1, show_default=True, help="Same seed, same faults.")
@click.option("--minutes", default=10.0, show_default=True, help="How long faults happen.")
@click.option("--only", default="", help="Only faults whose names contain this.")
def main(seed: int, minutes: float, only: str) -> None:
    """Damage a whole running pipeline at random; exit with 0 only if its tables equal the truth."""
    sys.exit(0 if run_chaos(seed, minutes * 60, only) else 1)


if __name__ == "__main__":
    main()
