"""`mastodon-pipeline alerts`: whether messages about problems arrive."""

import sys

import click

from mastodon_pipeline.errors import SettingsError


@click.group(short_help="Send a test message to each URL of ALERT_URLS.")
def alerts() -> None:
    """Send a test message to each URL of ALERT_URLS.

    The sensor alert_sensor sends messages there when a problem begins and when it is over.

    \b
    Example:
      mastodon-pipeline alerts test
    """


@alerts.command()
def test() -> None:
    """Send a test message to each URL, and report which worked.

    URLs are shown by their place in ALERT_URLS and the kind of service, since they contain secrets.

    Exit codes: 0 all worked; 1 one did not; 2 ALERT_URLS is not set.
    """
    from mastodon_pipeline.alerting.delivery import Batch, deliver
    from mastodon_pipeline.alerting.rules import Message
    from mastodon_pipeline.settings import load_settings

    urls = load_settings().alert_targets()
    if not urls:
        raise SettingsError(
            "ALERT_URLS is not set: comma-separated Apprise URLs, see docs/operations.md#alerts"
        )
    message = Message("test", "a test message", "Messages about problems will arrive here.")
    failed = 0
    for number, delivery in enumerate(deliver([Batch(url, [message]) for url in urls]), 1):
        failed += bool(delivery.error)
        target = f"{number} {delivery.service or '(unknown)'}"
        click.echo(f"{'!!' if delivery.error else 'ok'}  {target:<20} {delivery.error or 'sent'}")
    if failed:
        click.echo(f"\n{failed} of {len(urls)} did not work", err=True)
        sys.exit(1)
