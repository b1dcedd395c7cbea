"""Disks get full, and what a program has stored is wiped."""

import contextlib
import shutil
from functools import partial
from pathlib import Path

from mastodon_pipeline.errors import PipelineError
from mastodon_pipeline.lake.bucket import s3_client
from mastodon_pipeline.landing.iceberg import open_table
from mastodon_pipeline.landing.sink_progress import sink_progress
from mastodon_pipeline.listening.topic.landed_positions import load_landed_positions
from mastodon_pipeline_tests.chaos.fault import MOMENT, Fault, answers, sink_runs, until_done
from mastodon_pipeline_tests.chaos.pipeline import Pipeline
from mastodon_pipeline_tests.chaos.process_faults import DAGSTER
from mastodon_pipeline_tests.support.small_disk import fill
from mastodon_pipeline_tests.support.waiting import wait_until


def fill_disk(pipeline: Pipeline, name: str) -> None:
    """Leave no byte free, and take again what is deleted meanwhile."""
    if name in pipeline.small_disks:
        fill(pipeline.stack.data / name / "filling")


def free_disk(pipeline: Pipeline, name: str) -> None:
    (pipeline.stack.data / name / "filling").unlink(missing_ok=True)


def stop_registry(pipeline: Pipeline) -> None:
    pipeline.stack.supervisor.stop("registry")


def start(pipeline: Pipeline, program: str) -> None:
    """Start it; where the process manager is away, `up` does."""
    with contextlib.suppress(OSError):
        pipeline.stack.supervisor.start(program)


def wipe_registry(pipeline: Pipeline) -> None:
    """Stop the registry, delete its schemas, and start it."""
    stop_registry(pipeline)
    _empty(pipeline.stack.data / "registry")
    start(pipeline, "registry")


def await_what_kafka_alone_has(pipeline: Pipeline) -> None:
    """Wait until Kafka may be wiped.

    If the bucket was deleted before, what was in it lands again first: who deletes both copies of a
    toot has lost it. And every server has been followed for long enough to be in the copy of the
    positions (G2).
    """
    until_done(partial(_require_copied_positions, pipeline))
    if pipeline.bucket_deleted:
        wait_until(partial(bucket_is_back, pipeline), "the bucket is back", 600, poll_seconds=1.0)
        until_done(partial(_await_sink, pipeline))


def wipe_kafka(pipeline: Pipeline) -> None:
    """Stop Kafka, delete its data, and start it: no topic is left, nor any position."""
    pipeline.stack.supervisor.stop("kafka")
    pipeline.forget_poison()
    _empty(pipeline.stack.data / "kafka" / "log")
    start(pipeline, "kafka")


def delete_bucket(pipeline: Pipeline) -> None:
    """Delete all objects and the bucket, past the proxy, although writers go on meanwhile."""
    settings = pipeline.direct_settings

    def delete() -> None:
        with contextlib.closing(s3_client(settings)) as s3:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=settings.s3_bucket)
            for page in pages:
                for each in page.get("Contents", []):
                    s3.delete_object(Bucket=settings.s3_bucket, Key=each["Key"])
            s3.delete_bucket(Bucket=settings.s3_bucket)

    pipeline.bucket_deleted = True
    until_done(delete)


def bucket_is_back(pipeline: Pipeline) -> bool:
    """Return whether the sink runs again, with a table whose metadata exists."""
    with contextlib.suppress(PipelineError):
        return sink_runs(pipeline) and open_table(pipeline.direct_settings) is not None
    return False


def is_back_in_kafka(pipeline: Pipeline) -> bool:
    """Return whether a run listens into the new topic, and the sink has committed some of it."""
    return (
        answers(pipeline, "kafka", "connect")
        and pipeline.listens()
        and sink_runs(pipeline)
        and any(partition.committed > 0 for partition in sink_progress(pipeline.settings))
    )


def _require_copied_positions(pipeline: Pipeline) -> None:
    """Raise KeyError if the lake has no position of one of the servers."""
    copy, _ = load_landed_positions(pipeline.direct_settings)
    if len(copy.landed | copy.waiting) < len(pipeline.settings.servers()):
        raise KeyError("positions")


def _await_sink(pipeline: Pipeline) -> None:
    """Wait until the sink has committed all that is in the topic now."""
    ends = {p.partition: p.end for p in sink_progress(pipeline.settings)}

    def committed() -> bool:
        progress = sink_progress(pipeline.settings)
        return all(p.committed >= ends.get(p.partition, 0) for p in progress)

    wait_until(committed, "the sink has caught up", 600, poll_seconds=1.0)


def _empty(directory: Path) -> None:
    """Delete what is in a directory, which may be a disk."""
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _full_disk(name: str, *programs: str) -> Fault:
    filling = partial(fill_disk, name=name)
    return Fault(
        (15, 45),
        filling,
        lambda pipeline: answers(pipeline, *programs),
        programs,
        partial(free_disk, name=name),
        filling,
    )


def _registry_answers(pipeline: Pipeline) -> bool:
    return answers(pipeline, "registry")


DATA_FAULTS = {
    "disk full: Kafka": _full_disk("kafka", "kafka", "connect"),
    "disk full: MinIO": _full_disk("minio", "minio"),
    "disk full: Dagster": _full_disk("dagster", *DAGSTER),
    "registry away": Fault(
        (10, 60),
        stop_registry,
        _registry_answers,
        ("registry", "connect"),
        partial(start, program="registry"),
    ),
    "registry wiped": Fault(MOMENT, wipe_registry, _registry_answers, ("registry",)),
    "Kafka wiped": Fault(
        MOMENT,
        wipe_kafka,
        is_back_in_kafka,
        ("kafka", "connect", "listener", "sink"),
        await_leave=await_what_kafka_alone_has,
    ),
    "bucket deleted": Fault(MOMENT, delete_bucket, bucket_is_back, ("sink",)),
}
