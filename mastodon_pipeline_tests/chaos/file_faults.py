"""Files in the lake that the sink did not write: damaged ones, and valid ones."""

import contextlib

import duckdb

from mastodon_pipeline.errors import PipelineError
from mastodon_pipeline.lake.bucket import s3_client
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.landing.landed_index import landed_toots
from mastodon_pipeline_tests.chaos.fault import MOMENT, Fault, until_done
from mastodon_pipeline_tests.chaos.pipeline import Pipeline

_FOREIGN = (
    "SELECT 'a file of another make' AS title, 7 AS number, now() AS created_at",
    # The sink's columns, and toots that no server published, but no place in Kafka.
    "SELECT * REPLACE (uri || '/foreign' AS uri, NULL::BIGINT AS kafka_offset) FROM '{landed}'",
)
"""Valid Parquet that is not the sink's; `{landed}` is a landed file."""


def put_damaged_file(pipeline: Pipeline) -> None:
    """Put a file that is no Parquet beside the newest landed one."""

    def put() -> None:
        settings = pipeline.direct_settings
        name = _name_beside(_newest_landed(pipeline), f"damaged-{len(pipeline.strange_files)}")
        with contextlib.closing(s3_client(settings)) as s3:
            s3.put_object(Bucket=settings.s3_bucket, Key=name, Body=b"PAR1xyz")
        pipeline.strange_files.add(name)

    until_done(put)


def put_foreign_files(pipeline: Pipeline) -> None:
    """Put valid Parquet that the sink did not write beside the newest landed file."""
    number = len(pipeline.strange_files)

    def put() -> None:
        landed = _newest_landed(pipeline)
        with open_lake(pipeline.direct_settings) as lake:
            root = lake.layout.root
            for kind, select in enumerate(_FOREIGN):
                name = _name_beside(landed, f"foreign-{number}-{kind}")
                rows = select.format(landed=f"{root}/{landed}")
                lake.connection.execute(f"COPY ({rows}) TO '{root}/{name}' (FORMAT parquet)")
                pipeline.strange_files.add(name)

    until_done(put)


def _newest_landed(pipeline: Pipeline) -> str:
    """Return the key of a landed file. Raises KeyError if nothing has landed."""
    settings = pipeline.direct_settings
    with contextlib.closing(s3_client(settings)) as s3:
        topics = s3.list_objects_v2(Bucket=settings.s3_bucket, Prefix="topics/")
        keys = {each["Key"] for each in topics["Contents"]} - pipeline.strange_files
    if not keys:
        raise KeyError("nothing has landed")
    return max(keys)


def _name_beside(key: str, name: str) -> str:
    return f"{key.rpartition('/')[0]}/{name}.parquet"


def strange_files_are_named(pipeline: Pipeline) -> bool:
    """Return whether what lists the landed files names each strange one that is still there."""
    with (
        contextlib.suppress(PipelineError, duckdb.Error),
        open_lake(pipeline.direct_settings) as lake,
    ):
        named = {file.path for file in landed_toots(lake).unreadable}
        present = {file.path for file in lake.list_files(lake.layout.landed())}
        return all(
            any(path.endswith(name) for path in named)
            for name in pipeline.strange_files
            if any(path.endswith(name) for path in present)
        )
    return False


FILE_FAULTS = {
    "damaged file in the lake": Fault(MOMENT, put_damaged_file, strange_files_are_named, ()),
    "foreign files in the lake": Fault(MOMENT, put_foreign_files, strange_files_are_named, ()),
}
