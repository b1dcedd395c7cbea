"""How many toots a second one core takes from a stream into Kafka, against the article's listener.

Both follow the same simulated server into the same real broker and registry, in turn, so that
whatever else the machine does meets both; what is told are the medians.

- ours: what a listener run does, discovery to saved positions;
- the article's way, written here from its description: Mastodon.py's stock listener, BeautifulSoup
  for the text, Confluent's AvroSerializer, and a flush after every toot.

A core's worth is toots by CPU second of the listening process, librdkafka's threads included; the
clock tells the same with the server and the broker sharing the machine's cores.

**The next bottleneck.** No stage takes a quarter of the whole any more, and the profile is flat
(`perf`, 80,000 toots): two thirds of the CPU are spent in the interpreter, spread over all stages,
11 % in the C library, mostly for memory, 9 % in the kernel, 7 % in msgspec, 6 % in librdkafka.
Taking much off that would mean leaving Python for the whole way of a toot. More toots than one core
takes are spread over processes instead (`LISTENER_GROUPS`).
"""

import statistics

import click

from benchmarks.listeners import Taken, ours, the_articles
from benchmarks.listening_stages import payloads, stages
from benchmarks.native_stack import a_native_stack

REST = "the rest (positions, counts, from one to the next)"


@click.command()
@click.option("--toots", default=40_000, show_default=True, help="A run, for our listener.")
@click.option("--article-toots", default=400, show_default=True, help="A run, for the article's.")
@click.option("--runs", default=3, show_default=True, type=click.IntRange(1), help="Of each.")
def bench(toots: int, article_toots: int, runs: int) -> None:
    """Toots a second and core from stream to Kafka: ours against the article's listener."""
    statuses = payloads(10_000)
    articles, own = [], []
    with a_native_stack():
        for run in range(1, runs + 1):
            click.echo(f"  run {run} of {runs}: the article's listener, then ours", err=True)
            articles.append(the_articles(article_toots))
            own.append(ours(toots))
        click.echo("  the stages of ours, each alone", err=True)
        found = stages(statuses)
    size = statistics.mean(len(payload) for payload in statuses)
    click.echo(f"\nstatuses of {size:,.0f} bytes on average")
    click.echo(f"{'listener':<10} {'toots':>8} {'CPU s':>8} {'clock s':>8} {'toots/s/core':>13}")
    for name, taken in [("article", t) for t in articles] + [("ours", t) for t in own]:
        click.echo(
            f"{name:<10} {taken.toots:>8,} {taken.cpu_seconds:>8.2f} {taken.seconds:>8.2f} "
            f"{taken.per_core:>13,.0f}"
        )
    whole = statistics.median(taken.microseconds for taken in own)
    found[REST] = whole - sum(found.values())
    click.echo(f"\n{'one toot of ours':<50} {'CPU µs':>7} {'share':>6}")
    for name, microseconds in [*found.items(), ("whole", whole)]:
        click.echo(f"{name:<50} {microseconds:>7.1f} {microseconds / whole:>6.0%}")
    click.echo(_next_bottleneck(found, whole))
    per_core = _per_core(own)
    click.echo(f"BENCH listener.toots_per_core {per_core:.0f}")
    click.echo(f"BENCH listener.ratio_vs_article {per_core / _per_core(articles):.0f}")


def _next_bottleneck(found: dict[str, float], whole: float) -> str:
    longest = max(found, key=lambda stage: found[stage] * (stage != REST))
    return (
        f"next bottleneck: the interpreter, in all of them alike; of the stages the longest is "
        f"{longest} with {found[longest] / whole:.0%}"
    )


def _per_core(runs: list[Taken]) -> float:
    return statistics.median(taken.per_core for taken in runs)


if __name__ == "__main__":
    bench()
