"""The sink connector's configuration: the reviewed JSON with the settings filled in.

`infra/connect/iceberg-sink.json` or, with SINK=s3, `infra/connect/s3-sink.json`. Placeholders are
written `@{name}`: `$` has a meaning in Kafka Connect's own values (`InsertField$Value`,
`${env:NAME}`). No key of the object store is among them: both sinks use AWS's default chain in
the worker's own process, so Connect's REST API has no secret to give back.
"""

import json
from pathlib import Path
from string import Template

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.settings import REPOSITORY, Settings

CONFIG_DIRECTORY = REPOSITORY / "infra" / "connect"
CONTROL_TOPIC = "control-iceberg"
"""Where the Iceberg sink's tasks and their coordinator talk; several connectors may share it."""


class _Placeholders(Template):
    delimiter = "@"


def raw_folder(settings: Settings) -> str:
    """The prefix in the bucket below which the sink's hour folders lie."""
    return f"topics/{settings.kafka_topic}"


def removed_folder(settings: Settings) -> str:
    """The prefix in the bucket below which stand the Kafka coordinates of removed records."""
    return f"removed/{settings.kafka_topic}"


def connector_config(settings: Settings, directory: Path = CONFIG_DIRECTORY) -> dict[str, str]:
    """The wanted configuration of the sink that the settings choose.

    Raises SettingsError where the file is missing, is not a flat JSON object of strings, or has
    a placeholder that no setting fills.
    """
    path = directory / f"{settings.sink}-sink.json"
    try:
        texts: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"the sink's config {path} cannot be read: {error}") from None
    values = {
        "tasks": str(settings.sink_tasks),
        "topic": settings.kafka_topic,
        "dead_letter_topic": settings.dead_letter_topic,
        "control_topic": CONTROL_TOPIC,
        "registry_url": settings.connect_registry_url,
        "catalog_uri": settings.iceberg_catalog_uri,
        "table": settings.iceberg_table,
        "bucket": settings.s3_bucket,
        "folder": raw_folder(settings),
        "region": settings.aws_region,
        "s3_endpoint": settings.connect_s3_endpoint or settings.s3_endpoint,
    }
    config = {"name": settings.connector_name}
    for key, text in texts.items():
        try:
            config[key] = _Placeholders(text).substitute(values)
        except KeyError as missing:
            raise SettingsError(
                f"{path}: {key} has the placeholder {missing}, which is none of {', '.join(values)}"
            ) from None
        except (ValueError, TypeError) as error:
            raise SettingsError(f"{path}: {key} must be a text: {error}") from None
    return config
