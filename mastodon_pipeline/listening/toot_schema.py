"""The Avro schema of the topic: read from `infra/avro`, registered, guarded against breaking.

Confluent's wire format: a zero byte, the schema's id (4 bytes, big-endian), the Avro body.
See: https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/
"""

import io
import json
import struct
from collections.abc import Mapping
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

from mastodon_pipeline.listening.toot_encoding import NOT_PLAIN, encoded
from mastodon_pipeline.settings import REPOSITORY, Settings, SettingsError

SCHEMA_FILE = REPOSITORY / "infra" / "avro" / "mastodon-topic-value.avsc"
_HEADER = struct.Struct(">bI")


class RegistryUnreachable(SettingsError):
    """The schema registry does not answer; the message says where and what to do."""


class BreakingSchema(SettingsError):
    """The registry refuses the schema: readers of older records could not read on."""


@cache
def toot_schema() -> Any:
    """The record's schema, parsed for fastavro."""
    return parse_schema(json.loads(SCHEMA_FILE.read_text()))


def registry_client(settings: Settings) -> SchemaRegistryClient:
    """A client of the registry's Confluent API that gives up after seconds, not minutes."""
    return SchemaRegistryClient(
        {"url": settings.schema_registry_url, "timeout": 10, "max.retries": 2}
    )


def value_subject(settings: Settings) -> str:
    """The registry's name for the topic's value schema."""
    return f"{settings.kafka_topic}-value"


def register(settings: Settings, schema_text: str | None = None) -> int:
    """Registers the schema with BACKWARD compatibility enforced; returns its id.

    Doing it again changes nothing. Raises RegistryUnreachable, or BreakingSchema where
    the schema could not read what is already in the topic.
    """
    subject = value_subject(settings)
    schema = Schema(schema_text or SCHEMA_FILE.read_text(), "AVRO")
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
            raise BreakingSchema(
                f"the registry refuses the schema for {subject}: a reader with it could not read "
                f"older records ({error.error_message}); give new fields a default"
            ) from None
        raise RegistryUnreachable(_unreachable(settings, error)) from None
    except Exception as error:
        # The client passes its HTTP library's errors through, which are not ours to import.
        raise RegistryUnreachable(_unreachable(settings, error)) from None
    return schema_id


def encode(record: Mapping[str, Any], schema_id: int) -> bytes:
    """The record in Confluent's wire format.

    Raises what fastavro raises (ValueError, TypeError, OverflowError) for a value that
    does not fit its field.
    """
    header = _HEADER.pack(0, schema_id)
    try:
        return header + encoded(record)
    except NOT_PLAIN:
        buffer = io.BytesIO()
        buffer.write(header)
        schemaless_writer(buffer, toot_schema(), record)
        return buffer.getvalue()


def decode(value: bytes) -> dict[str, Any]:
    """The record in a Kafka value, times as UTC datetimes. Raises ValueError for other bytes."""
    if len(value) < _HEADER.size or value[0] != 0:
        raise ValueError("the value is not in Confluent's wire format")
    found = schemaless_reader(io.BytesIO(value[_HEADER.size :]), toot_schema(), None)
    assert isinstance(found, dict)
    return found


def _unreachable(settings: Settings, error: Exception) -> str:
    return (
        f"the schema registry at {settings.schema_registry_url} does not answer ({error}); "
        "start the native stack with `make up`, or set SCHEMA_REGISTRY_URL"
    )
