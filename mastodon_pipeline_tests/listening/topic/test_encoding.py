"""Our Avro encoding against fastavro's, byte for byte."""

import io
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from fastavro import schemaless_writer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.simulator.plan import build_plan
from infra.simulator.status import status_json
from mastodon_pipeline.listening.protocol.statuses import Application, decode_status
from mastodon_pipeline.listening.records.record import ObservingServer, toot_record
from mastodon_pipeline.listening.topic.encoding import NOT_PLAIN, encoded
from mastodon_pipeline.listening.topic.schema import encode, toot_schema

OBSERVER = ObservingServer("https://a.example", "a.example")
REFUSALS = (ValueError, TypeError, OverflowError, AttributeError)
integers = st.integers(-3, 20_000) | st.integers(-(2**66), 2**66)
PLAIN: dict[str, st.SearchStrategy[object]] = {
    "string": st.text() | st.text().map(lambda text: text * 9000),
    "int": st.integers(0, 300) | st.integers(-(2**31), 2**31 - 1),
    "boolean": st.booleans(),
    "long": st.integers(-(2**63), 2**63 - 1) | st.integers(1_500_000_000_000, 2_300_000_000_000),
    "array": st.lists(st.text(), max_size=4),
}
anything = (
    st.none()
    | st.booleans()
    | integers
    | st.floats()
    | st.text(alphabet="a\ud800日")
    | st.binary(max_size=3)
    | st.lists(st.text(max_size=2) | st.integers(), max_size=2)
    | st.just(datetime(2026, 1, 1, tzinfo=UTC))
)


def plain_values(avro: Any) -> st.SearchStrategy[object]:
    if isinstance(avro, list):
        return st.none() | plain_values(avro[1])
    return PLAIN[avro["type"] if isinstance(avro, dict) else avro]


records = st.fixed_dictionaries(
    {field["name"]: plain_values(field["type"]) for field in toot_schema()["fields"]}
)


at_any_pace = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""On a busy machine 28 fields take their time."""


def by_fastavro(record: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    schemaless_writer(buffer, toot_schema(), record)
    return buffer.getvalue()


def outcome(encoding: Any, record: dict[str, Any]) -> bytes | None:
    try:
        found: bytes = encoding(record)
    except REFUSALS:
        return None
    return found


@at_any_pace
@given(records)
def test_every_record_is_encoded_as_by_fastavro(record: dict[str, Any]) -> None:
    """Any values that the schema allows."""
    assert encode(record, 1)[5:] == by_fastavro(record)


@at_any_pace
@given(records, st.sampled_from([f["name"] for f in toot_schema()["fields"]]), anything)
def test_what_fastavro_refuses_is_refused(record: dict[str, Any], name: str, value: Any) -> None:
    """One value of any kind in any field: the same bytes, or no bytes from either."""
    odd = record | {name: value}
    assert outcome(lambda r: encode(r, 1)[5:], odd) == outcome(by_fastavro, odd)


@at_any_pace
@given(records, st.sets(st.sampled_from([f["name"] for f in toot_schema()["fields"]]), min_size=1))
def test_what_is_missing_takes_the_schemas_default(
    record: dict[str, Any], missing: set[str]
) -> None:
    """A delete, or a replayed row, has few fields."""
    partial = {name: value for name, value in record.items() if name not in missing}
    with pytest.raises(NOT_PLAIN):
        encoded(partial)
    assert encode(partial, 1)[5:] == by_fastavro(partial)


def test_a_servers_toots_never_need_fastavro() -> None:
    """Else its time would be paid, and nobody would know."""
    plan = build_plan(["a.example"], 300, 1.0, 7, 1_780_000_000_000)
    for number, toot in enumerate(plan.toots):
        status = decode_status(status_json(toot, "a.example", number))
        record = toot_record(status, "update", OBSERVER, "stream", 1_780_000_000_000)
        assert encoded(record) == by_fastavro(record)


def test_nothing_long_is_remembered() -> None:
    """A server that makes up a language of a megabyte for each toot does not fill our memory."""
    toots = build_plan(["a.example"], 1, 1.0, 7, 0).toots
    payload = status_json(toots[0], "a.example", 1)
    tracemalloc.start()
    for number in range(30):
        status = decode_status(payload)
        status.language = status.visibility = status.account.acct = f"{number}" * 500_000
        status.application = Application(status.language)
        encode(toot_record(status, "update", OBSERVER, "stream", 1_780_000_000_000), 1)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 5_000_000
