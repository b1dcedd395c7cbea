"""`mastodon-pipeline listen`: one server, without Dagster, as the article's listener does it."""

import logging
import signal
import time
from threading import Event
from types import FrameType

import click

from mastodon_pipeline.errors import DeliveryFailed, ListeningFailed, PipelineError, SettingsError


@click.command(
    epilog=(
        "Streaming needs a token: `mastodon-pipeline login SERVER` gets one, or put one with the "
        "scope read:statuses into the environment variable MASTODON_TOKEN_<HOST>, for instance "
        "MASTODON_TOKEN_MASTODON_SOCIAL. Without a token the server's public timeline is polled."
    )
)
@click.option(
    "--base-url",
    "--baseURL",
    "base_url",
    required=True,
    metavar="URL",
    help="The server: https://mastodon.social",
)
@click.option("--public", is_flag=True, help="The federated feed, not only the server's accounts.")
@click.option(
    "--enable-kafka",
    "--enableKafka",
    "enable_kafka",
    is_flag=True,
    help="Write the toots to Kafka (KAFKA_TOPIC).",
)
@click.option("--quiet", is_flag=True, help="Do not print the toots.")
@click.option(
    "--watchdog",
    type=click.FloatRange(min=1),
    metavar="N",
    help="Exit with code 1 if no toot comes for N seconds.",
)
def listen(
    base_url: str, public: bool, enable_kafka: bool, quiet: bool, watchdog: float | None
) -> None:
    """Follow one server and print its toots.

    Each toot is one line; Ctrl-C stops. This is the listener without Dagster: `make up` runs the
    same for every configured server. Kafka is needed only with --enable-kafka.

    \b
    Examples:
      mastodon-pipeline listen --base-url https://mastodon.social
      mastodon-pipeline listen --base-url https://fosstodon.org --public --enable-kafka --quiet

    Exit codes: 0 stopped by Ctrl-C or SIGTERM; 1 the server cannot be listened to, nothing came
    for N seconds, or Kafka did not take the toots.
    """
    from mastodon_pipeline.cli.contact import ask_for_contact
    from mastodon_pipeline.cli.printing import NoPositions, PrintingSink
    from mastodon_pipeline.listening.following.listener import Listener
    from mastodon_pipeline.listening.following.position_store import PositionStore
    from mastodon_pipeline.listening.records.sink import TootSink
    from mastodon_pipeline.servers import parse_server
    from mastodon_pipeline.settings import load_settings

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("mastodon_pipeline").setLevel(logging.INFO)
    settings = load_settings()
    server = parse_server(base_url, "public" if public else "local")
    settings = ask_for_contact(settings, [server])
    kafka: TootSink | None = None
    positions: PositionStore = NoPositions()
    if enable_kafka:
        from mastodon_pipeline.listening.topic.opening import open_kafka

        kafka, positions = open_kafka(settings)
    stop = Event()
    sink = PrintingSink(stop, quiet, kafka)
    listener = Listener([server], settings, sink, positions, stop)
    began = time.monotonic()
    failure: PipelineError | None = None

    def check() -> None:
        nonlocal failure
        [statistics] = listener.statistics
        if statistics.state == "parked":
            failure = ListeningFailed(f"{server.name} cannot be listened to: {statistics.reason}")
        elif watchdog and time.monotonic() - statistics.last_toot_at > watchdog:
            failure = ListeningFailed(f"no toot from {server.name} for {watchdog:g} s")
        if failure:
            listener.stop()

    def terminated(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, terminated)
    click.echo(f"listening to {server.name} ({server.feed} feed); Ctrl-C stops", err=True)
    try:
        listener.run(check)
    except KeyboardInterrupt:
        pass
    except (DeliveryFailed, SettingsError) as error:
        failure = error
    [statistics] = listener.statistics
    click.echo(
        f"{statistics.toots} toots, {statistics.deletes} deletes, "
        f"{sink.dead_letters} not decodable in {time.monotonic() - began:.0f} s",
        err=True,
    )
    if failure:
        raise failure
