"""`mastodon-pipeline ledger`: what is missing, and accepting what is lost for good."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mastodon_pipeline.landing.accepted_offsets import AcceptedOffsets
    from mastodon_pipeline.ledger.state import Acceptance


@click.group(
    invoke_without_command=True, short_help="Show what is missing, or accept that it is lost."
)
@click.pass_context
def ledger(context: click.Context) -> None:
    """Show what is missing, or accept that it is lost.

    The losses are those that the check every_toot_is_accounted_for has found, which Dagster runs
    every five minutes.

    \b
    Examples:
      mastodon-pipeline ledger
      mastodon-pipeline ledger accept landed/a.example/2026-11-26-09 --who Ann --why "disk died"
    """
    if context.invoked_subcommand is not None:
        return
    from mastodon_pipeline.lake.lake import open_lake
    from mastodon_pipeline.ledger.accepting import OFFSETS, lost_offsets, open_losses
    from mastodon_pipeline.ledger.state import format_time
    from mastodon_pipeline.settings import load_settings

    settings = load_settings()
    with open_lake(settings) as lake:
        losses, accepted = open_losses(lake)
        offsets = lost_offsets(settings, lake)
    for loss in losses:
        click.echo(f"{loss.name}\n  {loss.records} records: {loss.reason}")
        click.echo(f"  noticed {format_time(loss.since)} UTC")
        if (acceptance := accepted.get(loss.name)) is not None:
            click.echo(f"  {_describe(acceptance)}")
    if offsets.records or offsets.accepted.records:
        click.echo(f"{OFFSETS}\n  {offsets.records} records, by landed_toots_complete")
        if offsets.accepted.records:
            click.echo(f"  {_describe(offsets.accepted)}")
    if not losses and not offsets.records:
        click.echo("nothing is missing")


def _describe(acceptance: "Acceptance | AcceptedOffsets") -> str:
    from mastodon_pipeline.ledger.state import format_time

    return (
        f"{acceptance.records} accepted {format_time(acceptance.at)} UTC by {acceptance.who}:"
        f" {acceptance.why}"
    )


@ledger.command()
@click.argument("losses", nargs=-1, required=True)
@click.option("--who", required=True, help="Who accepts it.")
@click.option("--why", required=True, help="Why nothing can be done about it.")
def accept(losses: tuple[str, ...], who: str, why: str) -> None:
    """Accept LOSSES, by their names, so that the check is green again.

    They stay in the ledger, with who and why. What is missing beyond them is a new loss. Once no
    loss between Kafka and the lake is open any more, the offsets that landed_toots_complete misses
    are accepted as well; alone they are called `offsets`.

    Exit codes: 0 accepted; 1 there is no such loss, or a service does not answer.
    """
    from mastodon_pipeline.lake.lake import open_lake
    from mastodon_pipeline.ledger.accepting import accept_with_offsets
    from mastodon_pipeline.settings import load_settings

    settings = load_settings()
    with open_lake(settings) as lake:
        for name, records in accept_with_offsets(settings, lake, losses, who, why):
            click.echo(f"accepted: {records} records, {name}")
