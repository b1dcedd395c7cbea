"""How many toots a second one core takes from a stream into Kafka, against the article's listener.

Both follow the same simulated server into the same real broker and registry, in turn, so that
other load on the machine affects both; reported are the medians.

- ours: what a listener run does, from discovery to saved positions;
- the article's, written here from its description: Mastodon.py's stock listener, BeautifulSoup
  for the text, Confluent's AvroSerializer, and a flush after every toot.

Toots a core are toots by CPU second of the listening process, librdkafka's threads included; clock
seconds also depend on the server and the broker, which share the machine's cores.

**The next bottleneck.** No stage takes a quarter of the whole any more, and the profile is flat
(`perf`, 80,000 toots): two thirds of the CPU are spent in the interpreter, spread over all stages,
11 % in the C library, mostly for memory, 9 % in the kernel, 7 % in msgspec, 6 % in librdkafka.
Taking much off that would mean leaving Python for the whole way of a toot. More toots than one core
takes are spread over processes instead (`LISTENER_GROUPS`).
"""

import statistics

import click

from benchmarks.listeners import Measurement, measure_articles, measure_ours
from benchmarks.listening_stages import measure_stages, payloads
from infra.native_stack import temporary_stack

REST = "the rest (positions, counts, handing on)"


@click.command()
@click.option("--toots", default=40_000, show_default=True, help="A run of our listener.")
@click.option("--article-toots", default=400, show_default=True, help="A run of the article's.")
@click.option("--runs", default=3, show_default=True, type=click.IntRange(1), help="Of each.")
def bench(toots: int, article_toots: int, runs: int) -> None:
    """Compare toots a second and core from stream to Kafka: ours and the article's listener."""
    statuses = payloads(10_000)
    articles, ours = [], []
    with temporary_stack():
        for number in range(1, runs + 1):
            click.echo(f"  run {number} of {runs}: the article's listener, then ours", err=True)
            articles.append(measure_articles(article_toots))
            ours.append(measure_ours(toots))
        click.echo("  the stages of our listener, each alone", err=True)
        stages = measure_stages(statuses)
    size = statistics.mean(len(payload) for payload in statuses)
    click.echo(f"\nstatuses of {size:,.0f} bytes on average")
    click.echo(f"{'listener':<10} {'toots':>8} {'CPU s':>8} {'clock s':>8} {'toots/s/core':>13}")
    for name, run in [("article", run) for run in articles] + [("ours", run) for run in ours]:
        click.echo(
            f"{name:<10} {run.toots:>8,} {run.cpu_seconds:>8.2f} {run.clock_seconds:>8.2f} "
            f"{run.per_core:>13,.0f}"
        )
    whole = statistics.median(run.microseconds for run in ours)
    stages[REST] = whole - sum(stages.values())
    click.echo(f"\n{'one toot of ours':<50} {'CPU µs':>7} {'share':>6}")
    for name, microseconds in [*stages.items(), ("whole", whole)]:
        click.echo(f"{name:<50} {microseconds:>7.1f} {microseconds / whole:>6.0%}")
    click.echo(_next_bottleneck(stages, whole))
    per_core = _per_core(ours)
    click.echo(f"BENCH listener.toots_per_core {per_core:.0f}")
    click.echo(f"BENCH listener.ratio_vs_article {per_core / _per_core(articles):.0f}")


def _next_bottleneck(stages: dict[str, float], whole: float) -> str:
    longest = max(stages, key=lambda stage: stages[stage] * (stage != REST))
    return (
        f"next bottleneck: the interpreter, in all stages alike; the longest stage is "
        f"{longest} with {stages[longest] / whole:.0%}"
    )


def _per_core(runs: list[Measurement]) -> float:
    return statistics.median(run.per_core for run in runs)


if __name__ == "__main__":
    bench()
