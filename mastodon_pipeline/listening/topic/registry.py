"""The schema registry: our schema registered and guarded, and the schemas of others looked up."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka.schema_registry import (
    ConfigCompatibilityLevel,
    Schema,
    SchemaRegistryClient,
    ServerConfig,
)
from confluent_kafka.schema_registry.error import SchemaRegistryError
from fastavro import parse_schema

from mastodon_pipeline.errors import RegistryUnavailable, SchemaIncompatible
from mastodon_pipeline.schemas import schema_text
from mastodon_pipeline.settings import Settings


def registry_client(settings: Settings) -> SchemaRegistryClient:
    """Return a client of the registry's Confluent API that gives up after seconds, not minutes."""
    return SchemaRegistryClient(
        {"url": settings.schema_registry_url, "timeout": 10, "max.retries": 2}
    )


def value_subject(settings: Settings) -> str:
    """Return the registry's name for the topic's value schema."""
    return f"{settings.kafka_topic}-value"


def register(settings: Settings, schema: str | None = None) -> int:
    """Register the schema (JSON; ours if None) as BACKWARD compatible, and return its id.

    Doing it again changes nothing.

    Raises:
        RegistryUnavailable: the registry does not answer.
        SchemaIncompatible: a reader with the schema could not read what is in the topic.
    """
    subject = value_subject(settings)
    backward = ServerConfig(compatibility=ConfigCompatibilityLevel.BACKWARD)
    try:
        with _registry_errors(settings, 409), registry_client(settings) as client:
            # If the subject exists, the rule comes first, so that no change slips in before it.
            if subject in client.get_subjects():
                client.set_config(subject, backward)
            schema_id: int = client.register_schema(
                subject, Schema(schema or schema_text(), "AVRO")
            )
            client.set_config(subject, backward)
    except SchemaRegistryError as error:
        raise SchemaIncompatible(
            f"the registry refuses the schema for {subject}: a reader with it could not read "
            f"older records ({error.error_message}); give new fields a default"
        ) from None
    return schema_id


class WritersSchemas:
    """The schemas that records were written with, by id; the registry is asked once for each."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._schemas: dict[int, Any] = {}

    def __call__(self, schema_id: int) -> Any:
        """Return the schema, parsed for fastavro.

        Raises:
            ValueError: the registry has no schema of that id, or it is not Avro.
            RegistryUnavailable: the registry does not answer.
        """
        if schema_id not in self._schemas:
            self._schemas[schema_id] = self._fetch(schema_id)
        return self._schemas[schema_id]

    def _fetch(self, schema_id: int) -> Any:
        try:
            with _registry_errors(self._settings, 404), registry_client(self._settings) as client:
                schema = client.get_schema(schema_id)
        except SchemaRegistryError:
            raise ValueError(f"the registry has no schema {schema_id}") from None
        if schema.schema_type != "AVRO" or schema.schema_str is None:
            raise ValueError(f"schema {schema_id} is not Avro")
        return parse_schema(json.loads(schema.schema_str))


@contextmanager
def _registry_errors(settings: Settings, expected_status: int) -> Iterator[None]:
    """Turn the client's errors into RegistryUnavailable, but for an expected HTTP status."""
    try:
        yield
    except Exception as error:
        if getattr(error, "http_status_code", None) == expected_status:
            raise
        # The client passes its HTTP library's errors through, which are not ours to import.
        raise RegistryUnavailable(
            f"the schema registry at {settings.schema_registry_url} does not answer ({error}); "
            "start the native stack with `make up`, or set SCHEMA_REGISTRY_URL"
        ) from None
