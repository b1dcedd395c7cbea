"""`mastodon-pipeline servers`: how each server will be followed, and why."""

import sys
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from mastodon_pipeline.errors import SettingsError

if TYPE_CHECKING:
    from mastodon_pipeline.listening.following.trial import ServerTrial
    from mastodon_pipeline.servers import Server
    from mastodon_pipeline.settings import Settings

_MODES = {"stream": "streaming", "websocket": "websocket", "poll": "polling", "park": "parked"}
_HEADINGS = ("SERVER", "FEED", "VERSION", "MODE", "REASON")
_POLITENESS = ("REQ/H", "KB/H", "LIMIT")
_REPORT_SECONDS = 600.0
"""How old a listener's report may be: it writes one every 30 s."""


@click.command()
@click.argument("server", nargs=-1)
def servers(server: tuple[str, ...]) -> None:
    """Show how each server will be followed, and why.

    Without SERVER, all configured servers. Each is asked for its version and what it offers, and
    then tried once the way it will be followed. With a token, a public feed is read once with it
    and once without: a server leaves out what the token's owner filters, such as languages that
    they have not chosen. The exit code is 0 whatever they answer.

    \b
      streaming  over one connection, with a token
      websocket  the same, from a server that offers no other stream
      polling    its public timeline, without a token
      parked     it allows neither; it is tried again every hour
      waiting    it does not answer now; a listener tries it again
    \b
    Of servers that a listener follows, as of its last report:
      REQ/H      requests to its host over the last hour
      KB/H       kilobytes read from it
      LIMIT      the share of its own rate limit that they use
    \b
    Examples:
      mastodon-pipeline servers
      mastodon-pipeline servers mastodon.social https://fosstodon.org
    """
    from mastodon_pipeline.cli.contact import ask_for_contact
    from mastodon_pipeline.listening.following.trial import try_servers
    from mastodon_pipeline.settings import load_settings

    settings = load_settings()
    wanted = wanted_servers(settings, server)
    settings = ask_for_contact(settings, wanted)
    with click.progressbar(
        try_servers(wanted, settings),
        length=len(wanted),
        label="trying the servers",
        file=sys.stderr,
    ) as progress:
        trials = {trial.server: trial for trial in progress}
    for line in table([trials[each] for each in wanted], politeness(settings)):
        click.echo(line)


def wanted_servers(settings: "Settings", named: Sequence[str]) -> "list[Server]":
    """Return the named servers, with their configured feed and token if they are configured.

    Without names, all configured servers. Raises SettingsError if a name is not the address of a
    server, or if there is no server at all.
    """
    from mastodon_pipeline.servers import parse_server

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


def politeness(settings: "Settings") -> dict[str, tuple[str, str, str]]:
    """Return what listeners lately asked of servers' hosts, by base URL; {} without a Dagster here.

    Requests and kilobytes an hour, and the share of the host's rate limit; '' where it is unknown.
    """
    from mastodon_pipeline.paths import data_directory

    home = data_directory() / "dagster"
    if not (home / "dagster.yaml").exists():
        return {}
    from mastodon_pipeline.event_log import open_instance
    from mastodon_pipeline.listening.supervising.groups import group_names
    from mastodon_pipeline.listening.supervising.reports import latest_by_feed, load_reports

    with open_instance(home) as instance:
        reports = load_reports(instance, group_names(settings.listener_groups))
    figures = {}
    for written_at, report in latest_by_feed(reports).values():
        snapshot = report.snapshot
        if time.time() - written_at <= _REPORT_SECONDS:
            used = snapshot.rate_budget_used
            figures[snapshot.server.base_url] = (
                f"{snapshot.requests_per_hour:,.0f}",
                f"{snapshot.bytes_per_hour / 1000:,.1f}",
                "" if used is None else f"{used:.0%}",
            )
    return figures


def table(
    trials: "Sequence[ServerTrial]",
    politeness: "Mapping[str, tuple[str, str, str]]" = MappingProxyType({}),
) -> list[str]:
    """Return the trials as lines of aligned columns, headings first.

    `politeness`: by base URL, see the function; the columns are left out if there is none.
    """
    rows = [_HEADINGS, *map(_row, trials)]
    figures = [politeness.get(trial.server.base_url) for trial in trials]
    if any(figures):
        columns = [_POLITENESS, *(figure or ("", "", "") for figure in figures)]
        rows = [(*row[:-1], *more, row[-1]) for row, more in zip(rows, columns, strict=True)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]


def _row(trial: "ServerTrial") -> tuple[str, ...]:
    cells = (
        trial.server.name,
        trial.server.feed,
        trial.info.version[:24] if trial.info else "?",
        _MODES[trial.mode.kind] if trial.mode else "waiting",
        f"{trial.reason}; {trial.hidden}" if trial.hidden else trial.reason,
    )
    # Versions and reasons come from other servers and must not control the terminal.
    return tuple("".join(c if c.isprintable() else "�" for c in cell) for cell in cells)
