"""Where lost toots were last seen: in Kafka, in the dead letters, or nowhere."""

from collections import Counter
from collections.abc import Sequence

from infra.simulator.truth import TrueToot
from mastodon_pipeline.errors import PipelineError
from mastodon_pipeline.kafka import open_consumer, read
from mastodon_pipeline.landing.dead_letters import read_sink_letters
from mastodon_pipeline.landing.sink_progress import sink_progress
from mastodon_pipeline.listening.topic.encoding import decode
from mastodon_pipeline_tests.chaos.pipeline import Pipeline


def trace_losses(pipeline: Pipeline, lost: Sequence[TrueToot]) -> str:
    """Say how many of the lost toots are in Kafka, and which of those Connect put aside."""
    settings = pipeline.settings
    wanted = {toot.uri: toot for toot in lost}
    places: dict[str, list[tuple[int, int]]] = {}
    try:
        progress = {p.partition: p for p in sink_progress(settings)}
        ranges = {number: range(p.low, p.end) for number, p in progress.items()}
        with open_consumer(settings) as consumer:
            for message in read(consumer, settings.kafka_topic, ranges, 120.0):
                try:
                    uri = decode(message.value() or b"").uri
                except ValueError:
                    continue
                if uri in wanted:
                    place = (message.partition() or 0, message.offset() or 0)
                    places.setdefault(uri, []).append(place)
        dead = {letter.place for letter in read_sink_letters(settings).unsettled}
    except PipelineError as error:
        return f"{len(lost)}; {error}"
    counts = Counter(
        "not in Kafka"
        if uri not in places
        else "dead letters of the sink"
        if set(places[uri]) <= dead
        else "not committed by the sink"
        if all((progress[p].committed or 0) <= offset for p, offset in places[uri])
        else "committed, not in the tables"
        for uri in wanted
    )
    servers = Counter(toot.server for toot in lost)
    times = sorted(toot.created_at for toot in lost)
    return (
        f"{dict(counts)}, {dict(servers)}, posted from {times[0]} to {times[-1]}; "
        f"examples {[(t.uri, places.get(t.uri)) for t in lost[:3]]}"
    )
