"""The sink connector's configuration: the reviewed JSON with the settings filled in.

`schemas/iceberg-sink.json` or, with SINK=s3, `schemas/s3-sink.json`. Placeholders are
written `@{name}`: `$` has a meaning in Kafka Connect's own values (`InsertField$Value`,
`${env:NAME}`). No key of the object store is among them: both sinks use AWS's default chain in
the worker's own process, so Connect's REST API has no secret to give back.
"""

import json
from string import Template

from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.landing.catalog import sink_catalog
from mastodon_pipeline.schemas import connector_template
from mastodon_pipeline.settings import Settings

CONTROL_TOPIC = "control-iceberg"
"""Where the Iceberg sink's tasks and coordinator agree on commits; connectors may share it."""


_COMMIT_TIMEOUT_MS = 30_000
_SHORTEST_COMMIT_TIMEOUT_MS = 2_000
_REGISTRY_LOGIN = {
    "value.converter.apicurio.auth.username": "${env:SCHEMA_REGISTRY_USERNAME}",
    "value.converter.apicurio.auth.password": "${env:SCHEMA_REGISTRY_PASSWORD}",
}
"""Connect's worker reads both from its own environment."""


class _Placeholders(Template):
    delimiter = "@"


def connector_config(settings: Settings) -> dict[str, str]:
    """Return the configuration of the sink that the settings choose."""
    layout = Layout.of(settings)
    values = {
        "tasks": str(settings.sink_tasks),
        "commit_ms": str(settings.sink_commit_seconds * 1000),
        "commit_timeout_ms": str(_commit_timeout_ms(settings)),
        "topic": settings.kafka_topic,
        "dead_letter_topic": settings.dead_letter_topic,
        "control_topic": CONTROL_TOPIC,
        "registry_url": settings.connect_registry_url,
        "table": settings.iceberg_table,
        "bucket": settings.s3_bucket,
        "folder": layout.key(layout.landed()).rstrip("/"),
        "region": settings.aws_region,
        "s3_endpoint": settings.connect_s3_endpoint or settings.s3_endpoint,
    }
    template: dict[str, str] = json.loads(connector_template(settings.sink))
    if settings.registry_login:
        template |= _REGISTRY_LOGIN
    filled = {key: _Placeholders(text).substitute(values) for key, text in template.items()}
    if settings.sink == "iceberg":
        filled |= sink_catalog(settings)
    return {"name": settings.connector_name, **filled}


def _commit_timeout_ms(settings: Settings) -> int:
    """Return how long a commit waits for the files of all tasks, in milliseconds.

    A task that has had no record since its partitions were assigned never answers, and each commit
    waits in vain until this is over, before the next round begins. So with several tasks it is over
    well before that. What a slow task writes later is in the next commit: nothing is lost.
    See: https://github.com/apache/iceberg/issues/17811
    """
    if settings.sink_tasks == 1:
        return _COMMIT_TIMEOUT_MS
    half_of_a_round = settings.sink_commit_seconds * 1000 // 2
    return min(_COMMIT_TIMEOUT_MS, max(_SHORTEST_COMMIT_TIMEOUT_MS, half_of_a_round))
