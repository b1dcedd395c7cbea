"""`mastodon-pipeline metrics`: numbers for Prometheus to scrape."""

import click


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    default=9464,
    show_default=True,
    help="Where Prometheus asks.",
)
@click.option(
    "--address",
    default="127.0.0.1",
    show_default=True,
    help="An address of this machine; 0.0.0.0 lets other machines ask.",
)
def metrics(port: int, address: str) -> None:
    """Serve numbers of listeners, sink, ledger, checks and tables to Prometheus.

    They are read when Prometheus asks, from the Dagster of this machine and from Kafka. Whoever
    reaches the port can read them: they name the servers that are followed, and nothing of a
    person. `make up` starts this by itself where METRICS_PORT is set. Ctrl-C ends it.

    \b
    Examples:
      mastodon-pipeline metrics
      curl http://127.0.0.1:9464/metrics
    """
    from mastodon_pipeline.metrics.serving import metrics_server
    from mastodon_pipeline.paths import data_directory
    from mastodon_pipeline.settings import load_settings

    with metrics_server(data_directory() / "dagster", load_settings(), address, port) as server:
        click.echo(f"the metrics are at http://{address}:{port}/metrics", err=True)
        server.serve_forever()
