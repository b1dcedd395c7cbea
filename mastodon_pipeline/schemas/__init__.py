"""What other programs read too: the record's Avro schema and the sink connectors' configurations.

They are package data, so that an installed wheel has them; `infra/` links to them.
"""

from importlib.resources import files


def schema_text() -> str:
    """Return the Avro schema of the topic's records, as it is registered."""
    return files(__name__).joinpath("mastodon-topic-value.avsc").read_text("utf-8")


def connector_template(sink: str) -> str:
    """Return the configuration of the sink `iceberg` or `s3`, with placeholders for settings."""
    return files(__name__).joinpath(f"{sink}-sink.json").read_text("utf-8")
