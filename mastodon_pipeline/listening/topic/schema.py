"""The Avro schema of the topic: registered, guarded against breaking.

Confluent's wire format: a zero byte, the schema's id (4 bytes, big-endian), the Avro body.
See: https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/
"""

import io
import json
import struct
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from confluent_kafka.schema_registry import (
    ConfigCompatibilityLevel,
    Schema,
    SchemaRegistryClient,
    ServerConfig,
)
from confluent_kafka.schema_registry.error import SchemaRegistryError
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.read import SchemaResolutionError

from mastodon_pipeline.errors import RegistryUnavailable, SchemaIncompatible
from mastodon_pipeline.listening.topic.encoding import NOT_PLAIN, encoded
from mastodon_pipeline.schemas import schema_text
from mastodon_pipeline.settings import Settings

_HEADER = struct.Struct(">bI")


@cache
def toot_schema() -> Any:
    """The record's schema, parsed for fastavro."""
    return parse_schema(json.loads(schema_text()))


def registry_client(settings: Settings) -> SchemaRegistryClient:
    """A client of the registry's Confluent API that gives up after seconds, not minutes."""
    return SchemaRegistryClient(
        {"url": settings.schema_registry_url, "timeout": 10, "max.retries": 2}
    )


def value_subject(settings: Settings) -> str:
    """The registry's name for the topic's value schema."""
    return f"{settings.kafka_topic}-value"


def register(settings: Settings, text: str | None = None) -> int:
    """Registers the schema with BACKWARD compatibility enforced; returns its id.

    Doing it again changes nothing. Raises RegistryUnavailable, or SchemaIncompatible where
    the schema could not read what is already in the topic.
    """
    subject = value_subject(settings)
    schema = Schema(text or schema_text(), "AVRO")
    backward = ServerConfig(compatibility=ConfigCompatibilityLevel.BACKWARD)
    try:
        with registry_client(settings) as client:
            # The rule comes first where the subject exists, so that no change slips in before it.
            if subject in client.get_subjects():
                client.set_config(subject, backward)
            schema_id: int = client.register_schema(subject, schema)
            client.set_config(subject, backward)
    except SchemaRegistryError as error:
        if error.http_status_code == 409:
            raise SchemaIncompatible(
                f"the registry refuses the schema for {subject}: a reader with it could not read "
                f"older records ({error.error_message}); give new fields a default"
            ) from None
        raise RegistryUnavailable(_unreachable(settings, error)) from None
    except Exception as error:
        # The client passes its HTTP library's errors through, which are not ours to import.
        raise RegistryUnavailable(_unreachable(settings, error)) from None
    return schema_id


def encode(record: Mapping[str, Any], schema_id: int) -> bytes:
    """The record in Confluent's wire format.

    Raises what fastavro raises (ValueError, TypeError, OverflowError) for a value that
    does not fit its field.
    """
    header = _header(schema_id)
    try:
        return encoded(record, header)
    except NOT_PLAIN:
        buffer = io.BytesIO()
        buffer.write(header)
        schemaless_writer(buffer, toot_schema(), record)
        return buffer.getvalue()


@cache
def _header(schema_id: int) -> bytes:
    return _HEADER.pack(0, schema_id)


def decode(value: bytes, writers_schema: Callable[[int], Any] | None = None) -> dict[str, Any]:
    """The record in a Kafka value, in the fields of our schema, times as UTC datetimes.

    `writers_schema` gives the schema of an id (`WritersSchemas`); without it, ours is taken for
    the writer's. Raises ValueError for other bytes, and what `writers_schema` raises.
    """
    if len(value) < _HEADER.size or value[0] != 0:
        raise ValueError("the value is not in Confluent's wire format")
    ours = toot_schema()
    theirs = writers_schema(_HEADER.unpack_from(value)[1]) if writers_schema else ours
    try:
        found = schemaless_reader(io.BytesIO(value[_HEADER.size :]), theirs, ours)
    except (EOFError, IndexError, OverflowError, SchemaResolutionError) as error:
        raise ValueError(f"no record: {error or type(error).__name__}") from None
    assert isinstance(found, dict)
    return found


class WritersSchemas:
    """The schemas that records were written with, by id; each is asked of the registry once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[int, Any] = {}

    def __call__(self, schema_id: int) -> Any:
        """The schema, parsed for fastavro.

        Raises ValueError where the registry has none of that id or one that is not Avro, and
        RegistryUnavailable.
        """
        if schema_id not in self._known:
            self._known[schema_id] = self._asked(schema_id)
        return self._known[schema_id]

    def _asked(self, schema_id: int) -> Any:
        try:
            with registry_client(self._settings) as client:
                found = client.get_schema(schema_id)
        except SchemaRegistryError as error:
            if error.http_status_code == 404:
                raise ValueError(f"the registry has no schema {schema_id}") from None
            raise RegistryUnavailable(_unreachable(self._settings, error)) from None
        except Exception as error:
            raise RegistryUnavailable(_unreachable(self._settings, error)) from None
        if found.schema_type != "AVRO" or found.schema_str is None:
            raise ValueError(f"schema {schema_id} is not Avro")
        return parse_schema(json.loads(found.schema_str))


def _unreachable(settings: Settings, error: Exception) -> str:
    return (
        f"the schema registry at {settings.schema_registry_url} does not answer ({error}); "
        "start the native stack with `make up`, or set SCHEMA_REGISTRY_URL"
    )
