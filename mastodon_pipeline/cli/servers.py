"""`mastodon-pipeline servers`: how each server will be listened to, and why."""

import sys
from collections.abc import Sequence

import click

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.listening.following.trial import ServerCheck, check_servers
from mastodon_pipeline.settings import Server, Settings, load_settings, parse_server

_WAYS = {"stream": "streaming", "websocket": "websocket", "poll": "polling", "park": "parked"}
_HEADINGS = ("SERVER", "FEED", "VERSION", "WAY", "WHY")


@click.command()
@click.argument("server", nargs=-1)
def servers(server: tuple[str, ...]) -> None:
    """Show how each server will be listened to, and why.

    Without SERVER, all that are configured. Each is asked who it is, and then tried once the way
    it will be listened to: "streaming" with a token (over a "websocket" where the server offers
    nothing else), "polling" its public timeline without one;
    "parked" where it lets us do neither; "waiting" where it does not answer now, and a listener
    would try again. The exit code is 0 all the same: this is a report.

    \b
    Examples:
      mastodon-pipeline servers
      mastodon-pipeline servers mastodon.social https://fosstodon.org
    """
    settings = load_settings()
    asked = wanted_servers(settings, server)
    with click.progressbar(
        check_servers(asked, settings),
        length=len(asked),
        label="asking the servers",
        file=sys.stderr,
    ) as checks:
        found = {check.server: check for check in checks}
    for line in table([found[one] for one in asked]):
        click.echo(line)


def wanted_servers(settings: Settings, named: Sequence[str]) -> list[Server]:
    """The named servers, with their configured feed and token where they are configured.

    Raises SettingsError for what is no address, and where there is no server at all.
    """
    configured = {server.base_url: server for server in settings.servers()}
    if not named and not configured:
        raise SettingsError(
            "no server is configured: set MASTODON_SERVERS or MASTODON_SERVERS_FILE, or name one: "
            "mastodon-pipeline servers mastodon.social"
        )
    if not named:
        return list(configured.values())
    parsed = {server.base_url: server for server in map(parse_server, named)}
    return [configured.get(base_url, server) for base_url, server in parsed.items()]


def table(checks: Sequence[ServerCheck]) -> list[str]:
    """The checks as lines of columns, with headings."""
    rows = [_HEADINGS, *(_row(check) for check in checks)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]


def _row(check: ServerCheck) -> tuple[str, ...]:
    cells = (
        check.server.name,
        check.server.feed,
        check.found.version[:24] if check.found else "?",
        _WAYS[check.way.kind] if check.way else "waiting",
        check.reason,
    )
    # Versions and reasons are a stranger's words, and must not steer the terminal.
    return tuple("".join(c if c.isprintable() else "�" for c in cell) for cell in cells)
