"""`mastodon-pipeline backfill`: a server's earlier toots, from its public timeline."""

import sys
from datetime import datetime
from typing import TYPE_CHECKING

import click

from mastodon_pipeline.errors import Interrupted

if TYPE_CHECKING:
    from mastodon_pipeline.listening.following.past import PastReading

_DATE = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"])


@click.command()
@click.argument("server")
@click.option("--since", type=_DATE, required=True, help="The start of the period, UTC.")
@click.option(
    "--until",
    type=_DATE,
    help="Its end, UTC; by default now, or where an earlier backfill of the server began.",
)
def backfill(server: str, since: datetime, until: datetime | None) -> None:
    """Read what SERVER published in a period of the past.

    The toots get the source "past" and land in the hours in which they were posted; one that a
    listener has recorded as well counts once. Of what the server allows an address it uses half,
    so that a listener can go on beside it: a busy server shows about 6,000 toots in 15 minutes.

    Ctrl-C, or a kill, loses nothing: the same command continues after the last page that Kafka has.
    What was deleted, and what the timeline never showed (replies, unlisted toots), is not read.

    \b
    Examples:
      mastodon-pipeline backfill fosstodon.org --since 2026-01-01
      mastodon-pipeline backfill mastodon.social --since 2023-02-01 --until 2023-03-01

    Exit codes: 0 done; 1 the server refuses, or Kafka did not take all; 130 Ctrl-C.
    """
    from mastodon_pipeline.cli.contact import ask_for_contact
    from mastodon_pipeline.cli.servers import wanted_servers
    from mastodon_pipeline.listening.topic.opening import open_backfill
    from mastodon_pipeline.settings import load_settings

    settings = load_settings()
    [wanted] = wanted_servers(settings, (server,))
    settings = ask_for_contact(settings, [wanted])
    reading = open_backfill(wanted, since, until, settings)
    if reading.continues:
        click.echo(f"continuing: {reading.progress.line()}", err=True)
    try:
        _run(reading)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; the same command continues") from None
    finally:
        click.echo(f"{wanted.name}: {reading.progress.line()}", err=True)


def _run(reading: "PastReading") -> None:
    progress, shown = reading.progress, reading.progress.reached

    def line(_: int | None) -> str:
        return progress.line()

    with click.progressbar(
        length=max(1, shown - progress.since),
        label="reading backward",
        item_show_func=line,
        file=sys.stderr,
    ) as bar:

        def show() -> None:
            nonlocal shown
            reached = max(progress.reached, progress.since)
            bar.update(shown - reached)
            shown = reached

        reading.run(show)
