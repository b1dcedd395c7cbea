"""`python -m infra.simulator`: a simulated Fediverse on loopback."""

import asyncio
import contextlib
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from infra.simulator.control import control_application
from infra.simulator.fediverse import Fediverse, Options, default_servers, environment
from infra.simulator.ports import LOOPBACK, PortInUseError
from infra.simulator.weather import CALM, ORDINARY


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--servers",
    default=3,
    show_default=True,
    type=click.IntRange(1, 200),
    help="Number of servers.",
)
@click.option(
    "--toots", default=3000, show_default=True, type=click.IntRange(0), help="Number of toots."
)
@click.option(
    "--hours", default=6.0, show_default=True, help="Length of the window, which ends now."
)
@click.option("--seed", default=7, show_default=True, help="Same seed and --until: same toots.")
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%SZ"]),
    help="End of the window (UTC); default: now.",
)
@click.option(
    "--speed",
    type=click.FloatRange(0, min_open=True),
    help="Times faster than real time; 'inf': at once. Default: the window takes 20 s.",
)
@click.option(
    "--first-port",
    default=9101,
    show_default=True,
    type=click.IntRange(0, 65000),
    help="Port of the first server, the others follow; 0: free ports.",
)
@click.option(
    "--control-port",
    default=9100,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port of the control API; GET / describes it. 0: a free port.",
)
@click.option(
    "--host",
    default=LOOPBACK,
    show_default=True,
    help="Name by which clients on other hosts reach it; opens the ports on all addresses.",
)
@click.option(
    "--start",
    default="listeners",
    show_default=True,
    type=click.Choice(["listeners", "now", "control"]),
    help="What publication waits for: a listener at every server, nothing, or POST /start.",
)
@click.option(
    "--then-live",
    default=0.0,
    show_default=True,
    metavar="RATE",
    help="Afterwards, toots per second in real time over all servers; or POST /live later.",
)
@click.option(
    "--calm",
    is_flag=True,
    help="Events and rows at once and in order, not seconds late as on real servers.",
)
@click.option(
    "--tokens-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Once all ports are open, write servers and tokens as settings (mode 0600).",
)
def simulate(
    servers: int,
    toots: int,
    hours: float,
    seed: int,
    until: datetime | None,
    speed: float | None,
    first_port: int,
    control_port: int,
    host: str,
    start: str,
    then_live: float,
    calm: bool,
    tokens_file: Path | None,
) -> None:
    """Simulate Mastodon servers on 127.0.0.1, and count what they publish.

    Toots of the past HOURS are published in fast motion through Mastodon's API. Some servers
    stream to clients with a token and close their feeds to others; some give no token and can only
    be polled. Publication starts once every server has a listener; afterwards the servers keep
    running until Ctrl-C.

    Tokens are read from MASTODON_TOKEN_127_0_0_1_<PORT>, like the pipeline does, or generated if
    those variables are not set; --tokens-file writes them to a file.

    \b
      python -m infra.simulator --tokens-file /tmp/simulated.env &
      set -a; . /tmp/simulated.env; set +a
      mastodon-pipeline listen --base-url http://127.0.0.1:9101
      curl http://127.0.0.1:9100/truth/toots_per_server_per_hour
    """
    options = Options(
        servers=default_servers(servers),
        toots=toots,
        hours=hours,
        seed=seed,
        end=int(until.replace(tzinfo=UTC).timestamp() * 1000) if until else None,
        speed=speed,
        start=start,  # type: ignore[arg-type]
        live_rate=then_live,
        first_port=first_port,
        host=host,
        weather=CALM if calm else ORDINARY,
    )
    try:
        asyncio.run(_serve(options, control_port, tokens_file))
    except PortInUseError as error:
        click.echo(f"simulator: {error} (--first-port, --control-port)", err=True)
        sys.exit(2)


async def _serve(options: Options, control_port: int, tokens_file: Path | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    fediverse = Fediverse(options)
    try:
        await fediverse.open()
        control = await fediverse.serve(control_application(fediverse), control_port)
        if tokens_file is not None:
            _write_settings(tokens_file, environment(fediverse.servers))
        for server in fediverse.servers:
            how = "streams with a token" if server.policy.token else "polling only"
            click.echo(f"{server.base_url}  {server.domain:20} {how}")
        click.echo(f"http://{fediverse.options.host}:{control}  control API: status, truth, faults")
        if tokens_file is not None:
            click.echo(f"settings and tokens are in {tokens_file}")
        report = asyncio.create_task(_report(fediverse))
        await stop.wait()
        report.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await report
    finally:
        await fediverse.close()


async def _report(fediverse: Fediverse) -> None:
    """Print the progress of publication every 5 s."""
    if not fediverse.started.is_set():
        click.echo("waiting for listeners" if fediverse.options.start != "control" else "waiting")
    await fediverse.started.wait()
    while not fediverse.done.is_set():
        click.echo(_progress(fediverse))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(fediverse.done.wait(), 5)
    click.echo(f"{_progress(fediverse)}; done, the servers keep running")


def _progress(fediverse: Fediverse) -> str:
    status = fediverse.status()
    return f"published {status['published']:,} of {status['planned']:,} toots"


def _write_settings(path: Path, settings: dict[str, str]) -> None:
    """Replace the file atomically; only its owner can read it."""
    lines = "".join(f"{name}={value}\n" for name, value in settings.items())
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(lines)
    partial.replace(path)


if __name__ == "__main__":
    simulate(prog_name="python -m infra.simulator")
