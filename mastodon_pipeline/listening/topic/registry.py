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
from mastodon_pipeline.paths import stack_file
from mastodon_pipeline.schemas import schema_text
from mastodon_pipeline.settings import Settings
from mastodon_pipeline.tls import certificate_problem


def registry_client(settings: Settings) -> SchemaRegistryClient:
    """Return a client of the registry's Confluent API that gives up after seconds, not minutes."""
    config: dict[str, Any] = {
        "url": settings.schema_registry_url,
        "timeout": 10,
        "max.retries": 2,
    }
    if settings.registry_login:
        config["basic.auth.user.info"] = ":".join(settings.registry_login)
    if settings.services_ca_file:
        config["ssl.ca.location"] = str(settings.services_ca_file)
    return SchemaRegistryClient(config)


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
        raise RegistryUnavailable(registry_problem(settings, error)) from None


def refuses_us(error: Exception) -> bool:
    """Return whether waiting will not help: a wrong password, or a certificate not trusted."""
    return getattr(error, "http_status_code", None) in (401, 403) or bool(
        certificate_problem(error)
    )


def registry_problem(settings: Settings, error: Exception) -> str:
    """Return, in one line, why the registry cannot be used, and how to fix it.

    The client passes its HTTP library's errors through, which are not ours to import.
    """
    where = f"the schema registry at {settings.schema_registry_url}"
    if certificate := certificate_problem(error):
        return f"{where} cannot be trusted: {certificate}"
    if refuses_us(error):
        return (
            f"{where} refuses the password: check SCHEMA_REGISTRY_USERNAME and"
            f" SCHEMA_REGISTRY_PASSWORD (the native stack keeps its own in {stack_file()})"
        )
    return (
        f"{where} does not answer ({error or type(error).__name__}); start the native stack with"
        " `make up`, or set SCHEMA_REGISTRY_URL"
    )
