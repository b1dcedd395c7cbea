"""A field is added to the schema and to the record; everything else follows from the schema."""

import io
import json
from pathlib import Path

import duckdb
import pytest
from fastavro import parse_schema, schemaless_reader
from msgspec import defstruct

from mastodon_pipeline.lake.lake import empty_record_file
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.listening.topic.encoding import compile_encoder
from mastodon_pipeline.listening.topic.replay import ParquetToots
from mastodon_pipeline.schemas import RecordField, record_fields, schema_text
from mastodon_pipeline_tests.support.local_lake import record, write_parquet

ADDED = [
    {"name": "added_flag", "type": "boolean", "default": False, "doc": "A flag"},
    {"name": "added_score", "type": ["null", "long"], "default": None, "doc": "A number"},
    {
        "name": "added_words",
        "type": {"type": "array", "items": "string"},
        "default": [],
        "doc": "Words",
    },
]
Extended = defstruct(
    "Extended",
    [
        ("added_flag", bool, False),
        ("added_score", int | None, None),
        ("added_words", list[str], []),
    ],
    bases=(TootRecord,),
)


@pytest.fixture
def schema() -> str:
    """The record's schema with the added fields."""
    extended = json.loads(schema_text())
    extended["fields"] += ADDED
    return json.dumps(extended)


@pytest.fixture
def fields(schema: str) -> tuple[RecordField, ...]:
    """The fields of the extended schema."""
    return record_fields(schema)


def test_added_field_is_encoded(schema: str, fields: tuple[RecordField, ...]) -> None:
    toot = Extended(uri="https://a.example/1", added_flag=True, added_score=7, added_words=["glad"])
    encoded = compile_encoder(Extended, fields)(toot)
    decoded = schemaless_reader(io.BytesIO(encoded), parse_schema(json.loads(schema)), None)
    assert isinstance(decoded, dict)
    assert decoded["uri"] == "https://a.example/1"
    assert (decoded["added_flag"], decoded["added_score"], decoded["added_words"]) == (
        True,
        7,
        ["glad"],
    )


def test_added_field_is_a_column_of_the_empty_record(fields: tuple[RecordField, ...]) -> None:
    """So that hours from before it have the column too."""
    with duckdb.connect(":memory:") as connection, empty_record_file(connection, fields) as path:
        empty = connection.read_parquet(path)
        columns = dict(zip(empty.columns, map(str, empty.types), strict=True))
        assert len(empty) == 0
    coordinates = ["kafka_partition", "kafka_offset", "kafka_timestamp"]
    of_older_lakes = ["_partition", "_offset", "_ts"]
    names = [field.name for field in fields]
    assert list(columns) == [*names, *coordinates, *of_older_lakes]
    assert (columns["added_flag"], columns["added_score"], columns["added_words"]) == (
        "BOOLEAN",
        "BIGINT",
        "VARCHAR[]",
    )


def test_added_field_is_replayed(tmp_path: Path, fields: tuple[RecordField, ...]) -> None:
    """Files that have the column give it; older files leave it to its default."""
    with duckdb.connect(":memory:") as connection:
        write_parquet(connection, f"{tmp_path}/old.parquet", [record()])
        old = connection.read_parquet(f"{tmp_path}/old.parquet")
        old.project("*, true AS added_flag, 'ours' AS later_table").write_parquet(
            f"{tmp_path}/new.parquet"
        )
    with ParquetToots([f"{tmp_path}/new.parquet"], fields=fields) as toots:
        [row] = toots.rows()
    assert row["added_flag"] is True
    assert "later_table" not in row
    with ParquetToots([f"{tmp_path}/old.parquet"], fields=fields) as toots:
        [row] = toots.rows()
    assert "added_flag" not in row
