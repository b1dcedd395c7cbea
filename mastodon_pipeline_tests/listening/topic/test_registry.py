"""The record's schema in a real registry."""

import json

import pytest
from confluent_kafka.schema_registry import ConfigCompatibilityLevel

from mastodon_pipeline.errors import RegistryUnavailable, SchemaIncompatible
from mastodon_pipeline.listening.topic.registry import register, registry_client, value_subject
from mastodon_pipeline.schemas import schema_text
from mastodon_pipeline.settings import Settings


def changed_schema(name: str, **change: object) -> str:
    """Return the schema with one field changed, or added."""
    schema = json.loads(schema_text())
    fields = {field["name"]: field for field in schema["fields"]}
    if name in fields:
        fields[name].update(change)
    else:
        schema["fields"].append({"name": name, **change})
    return json.dumps(schema)


def test_schema_is_registered_once_and_guarded(settings: Settings) -> None:
    """Registering again gives the same id; the subject demands BACKWARD."""
    first = register(settings)
    assert register(settings) == first
    with registry_client(settings) as client:
        config = client.get_config(value_subject(settings))
    assert ConfigCompatibilityLevel.BACKWARD in (config.compatibility, config.compatibility_level)


@pytest.mark.parametrize(
    "schema",
    [
        changed_schema("favourites", type="string", default=""),
        changed_schema("mood", type="string"),
    ],
    ids=["a field's type changed", "a new field without default"],
)
def test_breaking_schema_change_is_refused(settings: Settings, schema: str) -> None:
    """A reader with it could not read what the topic already holds. Shows G19."""
    register(settings)
    with pytest.raises(SchemaIncompatible, match="give new fields a default"):
        register(settings, schema)


def test_compatible_schema_change_is_registered(settings: Settings) -> None:
    """A new field with a default: old records are read with it. Shows G19."""
    first = register(settings)
    assert register(settings, changed_schema("mood", type="string", default="")) != first


@pytest.mark.thorough
def test_absent_registry_is_one_line_that_names_the_setting() -> None:
    with pytest.raises(RegistryUnavailable, match="SCHEMA_REGISTRY_URL"):
        register(Settings(schema_registry_url="http://127.0.0.1:9"))
