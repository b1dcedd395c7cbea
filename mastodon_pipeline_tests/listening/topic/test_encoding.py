"""The encoder that is compiled from the schema, against fastavro, byte for byte."""

import contextlib
import io
import json
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from fastavro import schemaless_writer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct, defstruct
from msgspec.structs import asdict

from infra.simulator.plan import build_plan
from infra.simulator.status import status_json
from mastodon_pipeline.errors import UnrecordableToot
from mastodon_pipeline.listening.protocol.statuses import Application, decode_status
from mastodon_pipeline.listening.records.record import ObservingServer, TootRecord, toot_record
from mastodon_pipeline.listening.topic.encoding import compile_encoder, decode, encode, toot_schema
from mastodon_pipeline.schemas import record_fields

OBSERVER = ObservingServer("https://a.example", "a.example")
VALUES: dict[str, st.SearchStrategy[object]] = {
    "string": st.text() | st.text().map(lambda text: text * 9000),
    "int": st.integers(0, 300) | st.integers(-(2**31), 2**31 - 1),
    "boolean": st.booleans(),
    "long": st.integers(-(2**63), 2**63 - 1) | st.integers(1_500_000_000_000, 2_300_000_000_000),
    "array": st.lists(st.text(), max_size=4),
}
anything = (
    st.none()
    | st.booleans()
    | st.integers(-3, 20_000)
    | st.integers(-(2**66), 2**66)
    | st.floats()
    | st.text(alphabet="a\ud800日")
    | st.binary(max_size=3)
    | st.lists(st.text(max_size=2) | st.integers(), max_size=2)
    | st.just(datetime(2026, 1, 1, tzinfo=UTC))
)


def values(avro_type: Any) -> st.SearchStrategy[object]:
    if isinstance(avro_type, list):
        return st.none() | values(avro_type[1])
    return VALUES[avro_type["type"] if isinstance(avro_type, dict) else avro_type]


field_values = st.fixed_dictionaries(
    {field.name: values(field.avro_type) for field in record_fields()}
)
NULLABLE = {field.name: field.avro_type[1] for field in record_fields() if field.default is None}
on_a_busy_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def by_fastavro(record: Struct, schema: Any = None) -> bytes:
    buffer = io.BytesIO()
    schemaless_writer(buffer, schema or toot_schema(), asdict(record))
    return buffer.getvalue()


def body(record: TootRecord) -> bytes:
    return encode(record, 1)[5:]


@on_a_busy_machine
@given(field_values)
def test_every_record_is_encoded_as_by_fastavro(fields: dict[str, Any]) -> None:
    record = TootRecord(**fields)
    assert body(record) == by_fastavro(record)


@on_a_busy_machine
@given(field_values, st.sampled_from([field.name for field in record_fields()]), anything)
def test_value_of_any_kind_is_encoded_as_by_fastavro_or_refused(
    fields: dict[str, Any], name: str, value: Any
) -> None:
    """What fastavro refuses is refused; what it converts (0 to false) may be refused.

    In nullable fields, which fastavro checks more strictly, a bool is written as the number that
    it equals in Python, and 0 or 1 as the bool.
    """
    record = TootRecord(**fields | {name: value})
    with contextlib.suppress(UnrecordableToot):
        encoded = body(record)
        if NULLABLE.get(name) == "boolean" and value is not None:
            record = TootRecord(**fields | {name: bool(value)})
        elif name in NULLABLE and isinstance(value, bool):
            record = TootRecord(**fields | {name: int(value)})
        assert encoded == by_fastavro(record)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("favourites", 2**31),
        ("favourites", "many"),
        ("favourites", None),
        ("created_at", 2**63),
        ("uri", None),
        ("uri", "half a character: \ud83d"),
        ("bot", None),
        ("indexable", "yes"),
        ("tag_names", ["one", 2]),
        ("tag_names", None),
    ],
)
def test_misfit_is_refused_with_the_name_of_its_field(field: str, value: object) -> None:
    with pytest.raises(UnrecordableToot, match=f"{field} does not fit the schema"):
        encode(TootRecord(**{field: value}), 1)  # type: ignore[arg-type]


def test_toots_of_a_server_are_encoded_as_by_fastavro_and_read_back() -> None:
    plan = build_plan(["a.example"], 300, 1.0, 7, 1_780_000_000_000)
    for number, toot in enumerate(plan.toots):
        status = decode_status(status_json(toot, "a.example", number))
        record = toot_record(status, "update", OBSERVER, "stream", 1_780_000_000_000)
        assert body(record) == by_fastavro(record)
        assert decode(encode(record, 1)) == record


def test_record_type_must_have_the_fields_of_the_schema() -> None:
    """A forgotten field fails when the package is imported, not when records are read."""
    forgetful = defstruct("Forgetful", [field.name for field in record_fields()[:-1]])
    with pytest.raises(TypeError, match="Forgetful has other fields than the schema"):
        compile_encoder(forgetful, record_fields())


def test_types_that_the_record_does_not_use_yet_are_refused_when_compiled() -> None:
    schema = {"fields": [{"name": "mood", "type": "bytes", "default": "", "doc": ""}]}
    with pytest.raises(KeyError, match="bytes"):
        compile_encoder(defstruct("Moody", ["mood"]), record_fields(json.dumps(schema)))


def test_long_texts_of_strangers_are_not_kept_in_memory() -> None:
    """A server that makes up a language of a megabyte for each toot does not fill our memory."""
    toots = build_plan(["a.example"], 1, 1.0, 7, 0).toots
    payload = status_json(toots[0], "a.example", 1)
    tracemalloc.start()
    for number in range(30):
        status = decode_status(payload)
        status.language = status.visibility = status.account.acct = f"{number}" * 500_000
        status.application = Application(status.language)
        encode(toot_record(status, "update", OBSERVER, "stream", 1_780_000_000_000), 1)
    in_use, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert in_use < 5_000_000
