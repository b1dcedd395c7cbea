"""What other programs read too: the record's Avro schema and the sink connectors' configurations.

They are package data, so that an installed wheel has them; `infra/` links to them. The schema is
the one definition of the record: the encoder, the columns of the lake's empty record, those that a
replay reads and the columns' descriptions are derived from it (`record_fields`).
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

_DUCKDB_TYPES = {
    "string": "VARCHAR",
    "boolean": "BOOLEAN",
    "int": "INTEGER",
    "long": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "timestamp-millis": "TIMESTAMPTZ",
}


class RecordField(NamedTuple):
    """One field of the record."""

    name: str
    avro_type: Any
    """As in the schema: a name, a list (a union with null) or a dictionary."""
    duckdb_type: str
    """The type of its column in Parquet."""
    doc: str
    default: Any
    """As in the schema, times as milliseconds."""

    @property
    def is_time(self) -> bool:
        """True for a point in time: UTC milliseconds in Avro, a timestamp in Parquet."""
        return self.duckdb_type == _DUCKDB_TYPES["timestamp-millis"]


def schema_text() -> str:
    """Return the Avro schema of the topic's records, as it is registered."""
    return files(__name__).joinpath("mastodon-topic-value.avsc").read_text("utf-8")


@cache
def record_fields(schema: str | None = None) -> tuple[RecordField, ...]:
    """Return the record's fields in the schema's order. `schema`: JSON; ours if None."""
    return tuple(
        RecordField(
            field["name"],
            field["type"],
            _duckdb_type(field["type"]),
            field["doc"],
            field["default"],
        )
        for field in json.loads(schema or schema_text())["fields"]
    )


def connector_template(sink: str) -> str:
    """Return the configuration of the sink `iceberg` or `s3`, with placeholders for settings."""
    return files(__name__).joinpath(f"{sink}-sink.json").read_text("utf-8")


def _duckdb_type(avro_type: Any) -> str:
    match avro_type:
        case ["null", nullable]:
            return _duckdb_type(nullable)
        case {"type": "array", "items": items}:
            return f"{_duckdb_type(items)}[]"
        case {"logicalType": logical_type}:
            return _DUCKDB_TYPES[logical_type]
        case _:
            return _DUCKDB_TYPES[avro_type]
