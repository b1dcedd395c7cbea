"""`mastodon-pipeline top`: what happens on the servers that are followed, in the terminal."""

import sys
from datetime import UTC, datetime
from itertools import zip_longest
from threading import Event, Thread
from typing import TYPE_CHECKING

import click

from mastodon_pipeline.foreign_text import clean_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from confluent_kafka import Message
    from rich.table import Table

    from mastodon_pipeline.listening.topic.activity import Activity, RecentToots
    from mastodon_pipeline.settings import Settings

_REFRESH_SECONDS = 1.0
_STATES_EACH = 10
"""States are read again after this many pictures."""
_ROWS, _LANGUAGES, _HASHTAGS = 20, 8, 10
_STOP_SECONDS = 2.0
_NAME_CHARACTERS = 40
_PIPE_WIDTH = 120
_RIGHT = ("/MIN", "HOUR", "LATEST", "LAG")


@click.command()
@click.option("--once", is_flag=True, help="Print the last hour and exit, as into a pipe.")
def top(once: bool) -> None:
    """Show toots a minute, languages and rising hashtags, live from Kafka.

    LAG is the time from the post to Kafka. STATE is what the listener of a server reports to
    Dagster on this machine; servers without one are those of authors that a followed server
    knows. A hashtag rises if the last ten minutes have more of it than ten minutes had before
    them, within the hour. Ctrl-C ends it.

    \b
    Examples:
      mastodon-pipeline top
      mastodon-pipeline top --once | head -20
    """
    from mastodon_pipeline.listening.topic.activity import WINDOW_MS, RecentToots, now_ms
    from mastodon_pipeline.settings import load_settings

    settings = load_settings()
    toots, since = RecentToots(), now_ms() - WINDOW_MS
    if once or not sys.stdout.isatty():
        _read_hour(settings, toots, since)
        _print(toots.activity(now_ms()), _states(settings))
    else:
        _watch(settings, toots, since)


def _watch(settings: "Settings", toots: "RecentToots", since: int) -> None:
    from rich.live import Live

    from mastodon_pipeline.listening.topic.activity import now_ms
    from mastodon_pipeline.listening.topic.reading import follow

    stop, outage = Event(), [""]
    with follow(
        settings,
        settings.kafka_topic,
        False,
        lambda reason: outage.__setitem__(0, reason),
        stop.is_set,
    ) as messages:
        # Followed before the hour is read, so nothing falls between; a toot counts once.
        reader = Thread(
            target=_count, args=(settings, messages, toots, outage), name="the topic", daemon=True
        )
        reader.start()
        try:
            _read_hour(settings, toots, since)
            picture, states = 0, _states(settings)
            with Live(screen=True, auto_refresh=False) as screen:
                while True:
                    if picture % _STATES_EACH == 0:
                        states = _states(settings)
                    picture += 1
                    now = now_ms()
                    screen.update(table(toots.activity(now), states, now, outage[0]), refresh=True)
                    stop.wait(_REFRESH_SECONDS)
        except KeyboardInterrupt:
            pass
        finally:
            stop.set()
            reader.join(_STOP_SECONDS)


def _count(
    settings: "Settings", messages: "Iterator[Message]", toots: "RecentToots", outage: list[str]
) -> None:
    from mastodon_pipeline.listening.topic.activity import add_messages

    for _ in add_messages(settings, messages, toots):
        outage[0] = ""


def _read_hour(settings: "Settings", toots: "RecentToots", since: int) -> None:
    from mastodon_pipeline.listening.topic.activity import add_recent

    click.echo("reading the last hour", err=True)
    add_recent(settings, toots, since)


def _print(activity: "Activity", states: "Mapping[str, str]") -> None:
    from rich.console import Console

    from mastodon_pipeline.listening.topic.activity import now_ms

    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    console.print(table(activity, states, now_ms()))


def table(activity: "Activity", states: "Mapping[str, str]", now: int, outage: str = "") -> "Table":
    """Return the picture for the terminal. `now`: UTC milliseconds; `outage`: why Kafka is away."""
    from rich.table import Table
    from rich.text import Text

    def text(name: str) -> Text:  # What strangers wrote is neither markup nor control characters.
        return Text(clean_line(name, _NAME_CHARACTERS))

    moment = datetime.fromtimestamp(now / 1000, UTC)
    picture = Table.grid(padding=(0, 4))
    picture.add_row(
        f"{moment:%F %T} UTC: {activity.last_minute} toots in the last minute, "
        f"{activity.last_hour} in the hour"
        + (f"; waiting for Kafka: {clean_line(outage)}" if outage else "")
    )
    servers = Table("SERVER", *_RIGHT, "STATE", box=None, pad_edge=False)
    for column in servers.columns[1:5]:
        column.justify = "right"
    named = {row.server for row in activity.servers}
    for row in activity.servers[:_ROWS]:
        lag = "" if row.lag_ms is None else f"{max(0, row.lag_ms) / 1000:.1f} s"
        age = f"{max(0, now - row.newest_at) // 1000} s ago"
        counts = (str(row.last_minute), str(row.last_hour))
        servers.add_row(text(row.server), *counts, age, lag, states.get(row.server, ""))
    for server in sorted(states.keys() - named)[:_ROWS]:
        servers.add_row(text(server), "0", "0", "", "", states[server])
    picture.add_row(servers)
    words = Table("LANGUAGE", "HOUR", "RISING", "10 MIN", "BEFORE", box=None, pad_edge=False)
    languages = [(text(code or "unknown"), str(n)) for code, n in activity.languages[:_LANGUAGES]]
    rising = [
        (text(f"#{tag}"), str(toots), f"{before:.1f}")
        for tag, toots, before in activity.rising[:_HASHTAGS]
    ]
    for language, tag in zip_longest(languages, rising):
        words.add_row(*(language or ("", "")), *(tag or ("", "", "")))
    picture.add_row(words)
    return picture


def _states(settings: "Settings") -> "dict[str, str]":
    """Return the states of the followed servers by name; none if no Dagster runs here."""
    from mastodon_pipeline.paths import data_directory

    home = data_directory() / "dagster"
    if not (home / "dagster.yaml").exists():
        return {}
    from mastodon_pipeline.event_log import open_instance
    from mastodon_pipeline.listening.supervising.groups import group_names
    from mastodon_pipeline.listening.supervising.reports import load_reports

    with open_instance(home) as instance:
        reports = load_reports(instance, group_names(settings.listener_groups))
    snapshots = [server.snapshot for report in reports for server in report.servers]
    return {snapshot.server.name: snapshot.state for snapshot in snapshots}
