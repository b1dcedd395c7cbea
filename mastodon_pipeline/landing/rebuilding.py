"""Lets the sink begin again once the bucket that it wrote to, or its warehouse, was deleted.

No sink can go on then: the catalog still names a table whose metadata is gone. And what had landed
is gone too, although the sink has committed it. So the table is forgotten, and the topic is read
again from its beginning: what Kafka still holds lands again. Records count once, however often
they land.
"""

import time
from collections.abc import Callable
from contextlib import closing

from botocore.exceptions import ClientError
from confluent_kafka import KafkaError, KafkaException
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.kafka import admin_client
from mastodon_pipeline.kafka_errors import kafka_errors
from mastodon_pipeline.lake.bucket import object_store_errors, s3_client
from mastodon_pipeline.landing.catalog import CATALOG, catalog_address
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.settings import Settings

_MEMBERS_LEAVE_SECONDS = 60.0
_TABLE = """FROM iceberg_tables
WHERE catalog_name = :catalog AND table_namespace = :namespace AND table_name = :name"""


def begin_again_without_metadata(
    settings: Settings, connect: ConnectRest, log: Callable[[str], object]
) -> bool:
    """Forget the sink's table and offsets and remove the connector, if the metadata is gone.

    Returns whether it was: then the connector has to be created again. A catalog that cannot be
    read is left alone: the sink's own error says why.

    Raises ObjectStoreUnavailable, KafkaUnavailable, ConnectUnavailable or ConnectRefused.
    """
    namespace, _, name = settings.iceberg_table.rpartition(".")
    table = {"catalog": CATALOG, "namespace": namespace, "name": name}
    try:
        engine = create_engine(catalog_address(settings), poolclass=NullPool)
        with engine.connect() as catalog:
            location = catalog.scalar(text(f"SELECT metadata_location {_TABLE}"), table)
        if location is None or _exists(settings, location):
            return False
        # The table last: what is left undone by a death in between, the next run does.
        connect.delete(settings.connector_name)
        _forget_offsets(settings)
        with engine.begin() as catalog:
            gone = text(f"DELETE {_TABLE} AND metadata_location = :location")
            catalog.execute(gone, {**table, "location": location})
    except (SQLAlchemyError, SettingsError, ImportError):
        return False
    log(
        f"{location} is gone, and with it what had landed: the sink begins a new table, and reads "
        f"{settings.kafka_topic} again from its beginning"
    )
    return True


def _forget_offsets(settings: Settings) -> None:
    """Delete the sink's consumer group, which Kafka refuses until its last member has left."""
    group = f"connect-{settings.connector_name}"
    admin = admin_client(settings)
    give_up = time.monotonic() + _MEMBERS_LEAVE_SECONDS
    while True:
        [future] = admin.delete_consumer_groups([group]).values()
        with kafka_errors(settings):
            try:
                future.result(_MEMBERS_LEAVE_SECONDS)
                return
            except KafkaException as error:
                code = error.args[0].code()
                if code == KafkaError.GROUP_ID_NOT_FOUND:
                    return
                if code != KafkaError.NON_EMPTY_GROUP or time.monotonic() > give_up:
                    raise
        time.sleep(1.0)


def _exists(settings: Settings, location: str) -> bool:
    bucket, _, key = location.removeprefix("s3://").partition("/")
    with object_store_errors(settings), closing(s3_client(settings)) as s3:
        try:
            s3.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 404:
                raise
            return False
    return True
