"""What the sink meets: a connector changed by hand, a store that refuses, records that are none."""

import contextlib
from functools import partial

from mastodon_pipeline.errors import PipelineError
from mastodon_pipeline_tests.chaos.fault import MOMENT, Fault, sink_runs, until_done
from mastodon_pipeline_tests.chaos.pipeline import Pipeline
from mastodon_pipeline_tests.chaos.store_proxy import Mode


def delete_connector(pipeline: Pipeline) -> None:
    def delete() -> None:
        with pipeline.connect() as connect:
            connect.delete(pipeline.settings.connector_name)

    until_done(delete)


def change_connector(pipeline: Pipeline) -> None:
    """As by hand: another commit interval, which would make the tables late."""

    def change() -> None:
        name = pipeline.settings.connector_name
        with pipeline.connect() as connect:
            if config := connect.config(name):
                connect.put_config(name, config | {"iceberg.control.commit.interval-ms": "300000"})

    until_done(change)


def set_store(pipeline: Pipeline, mode: Mode) -> None:
    pipeline.proxy.set_mode(mode)


def poison(pipeline: Pipeline) -> None:
    """Produce values that are no record: they become dead letters, and the rest lands."""
    pipeline.produce_poison([b"no record", b"\0\0\0\0\1 nor this", b"\0"])


def poison_is_reported(pipeline: Pipeline) -> bool:
    """Return whether as many dead letters as poison records turn a light red."""
    with contextlib.suppress(PipelineError):
        return pipeline.open_dead_letters() >= pipeline.poison_records
    return False


def _store(mode: Mode) -> Fault:
    back = partial(set_store, mode="pass")
    return Fault((10, 40), partial(set_store, mode=mode), sink_runs, ("sink",), back)


SINK_FAULTS = {
    "connector deleted": Fault(MOMENT, delete_connector, sink_runs, ("sink",)),
    "connector changed": Fault(MOMENT, change_connector, sink_runs, ("sink",)),
    "MinIO answers 503": _store("refuse"),
    "MinIO is slow": _store("slow"),
    "poison records": Fault(MOMENT, poison, poison_is_reported, ("sink",)),
}
