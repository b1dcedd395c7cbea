"""Records as Kafka values: Confluent's wire format around Avro.

A zero byte, the schema's id (4 bytes, big-endian), the Avro body. fastavro reads the body. It is
written by an encoder that is compiled from the schema, one function a field, since fastavro asks
again for every field of every record what it is: 8.8 µs a toot against 4.4 µs, of some 25 µs that
a toot takes in all. The tests compare both, byte for byte.

See: https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/
and https://avro.apache.org/docs/1.12.0/specification/#binary-encoding
"""

import io
import json
import struct
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from operator import call
from typing import Any

from fastavro import parse_schema, schemaless_reader
from fastavro.read import SchemaResolutionError
from msgspec import Struct
from msgspec.structs import astuple

from mastodon_pipeline.errors import UnrecordableToot
from mastodon_pipeline.listening.records.record import TootRecord, milliseconds
from mastodon_pipeline.schemas import RecordField, record_fields, schema_text

Writer = Callable[[Any], bytes]
_HEADER = struct.Struct(">bI")
_MISFITS = (ValueError, TypeError, AttributeError, KeyError)
"""What a writer raises for a value of another type."""


@cache
def toot_schema() -> Any:
    """Return the record's schema, parsed for fastavro."""
    return parse_schema(json.loads(schema_text()))


def encode(record: TootRecord, schema_id: int) -> bytes:
    """Return the Kafka value of a record. Raises UnrecordableToot if it does not fit the schema."""
    return _header(schema_id) + _encode_body(record)


def decode(value: bytes, writers_schema: Callable[[int], Any] | None = None) -> TootRecord:
    """Return the record in a Kafka value, in the fields of our schema.

    `writers_schema` returns the schema of an id (`WritersSchemas`); without it, ours is taken for
    the writer's. Raises ValueError for other bytes, and what `writers_schema` raises.
    """
    if len(value) < _HEADER.size or value[0] != 0:
        raise ValueError("the value is not in Confluent's wire format")
    ours = toot_schema()
    theirs = writers_schema(_HEADER.unpack_from(value)[1]) if writers_schema else ours
    try:
        decoded = schemaless_reader(io.BytesIO(value[_HEADER.size :]), theirs, ours)
    except (EOFError, IndexError, OverflowError, SchemaResolutionError) as error:
        raise ValueError(f"no record: {error or type(error).__name__}") from None
    assert isinstance(decoded, dict)
    fields: dict[str, Any] = {
        name: milliseconds(field) if isinstance(field, datetime) else field
        for name, field in decoded.items()
    }
    return TootRecord(**fields)


def compile_encoder(
    record_type: type[Struct], fields: Sequence[RecordField]
) -> Callable[[Struct], bytes]:
    """Return a function that gives the Avro bytes of a record.

    The function raises UnrecordableToot if a value does not fit its field. Raises TypeError if the
    record's fields are not the schema's, in the same order.
    """
    names = tuple(field.name for field in fields)
    if record_type.__struct_fields__ != names:
        raise TypeError(
            f"{record_type.__name__} has other fields than the schema, or in another order: "
            f"{', '.join(record_type.__struct_fields__)}; the schema: {', '.join(names)}"
        )
    writers = tuple(_writer(field.avro_type) for field in fields)

    def encode_body(record: Struct) -> bytes:
        try:
            return b"".join(map(call, writers, astuple(record)))
        except _MISFITS as error:
            raise UnrecordableToot(_misfit(record, names, writers)) from error

    return encode_body


def _misfit(record: Struct, names: Sequence[str], writers: Sequence[Writer]) -> str:
    for name, writer, value in zip(names, writers, astuple(record), strict=True):
        try:
            writer(value)
        except _MISFITS as error:
            return f"{name} does not fit the schema: {error}"
    return "it does not fit the schema"


@cache
def _header(schema_id: int) -> bytes:
    return _HEADER.pack(0, schema_id)


def _writer(avro_type: Any) -> Writer:
    match avro_type:
        case ["null", branch]:
            write = _writer(branch)
            return lambda value: b"\0" if value is None else b"\2" + write(value)
        case {"type": "array", "items": items}:
            write_item = _writer(items)
            return lambda values: _array(values, write_item)
        case {"type": base}:
            return _WRITERS[base]
        case _:
            return _WRITERS[avro_type]


def _long(number: int) -> bytes:
    zigzag = number << 1 if number >= 0 else ~(number << 1)
    if 1 << 35 <= zigzag < 1 << 42:  # Any time of the years 1971 to 2038: six bytes.
        return bytes(
            (
                zigzag & 127 | 128,
                zigzag >> 7 & 127 | 128,
                zigzag >> 14 & 127 | 128,
                zigzag >> 21 & 127 | 128,
                zigzag >> 28 & 127 | 128,
                zigzag >> 35,
            )
        )
    if zigzag >> 64:
        raise ValueError("the number has more than 64 bits")
    encoded = bytearray()
    while zigzag > 127:
        encoded.append(zigzag & 127 | 128)
        zigzag >>= 7
    encoded.append(zigzag)
    return bytes(encoded)


_SMALL_COUNT = 1 << 13
_SMALL = [_long(number) for number in range(_SMALL_COUNT)]


def _int(number: int) -> bytes:
    if 0 <= number < _SMALL_COUNT:
        return _SMALL[number]
    if -(1 << 31) <= number < 1 << 31:
        return _long(number)
    raise ValueError("the number has more than 32 bits")


def _string(text: str) -> bytes:
    encoded = text.encode()
    length = len(encoded)
    return (_SMALL[length] if length < _SMALL_COUNT else _long(length)) + encoded


def _array(values: Sequence[Any], write_item: Writer) -> bytes:
    # One block with all items, and the empty block that ends the array. `len`, since it refuses
    # None and 0, which are no arrays.
    count = len(values)
    return b"".join((_long(count), *map(write_item, values), b"\0")) if count else b"\0"


_WRITERS: dict[str, Writer] = {
    "string": _string,
    "int": _int,
    "long": _long,
    "boolean": {False: b"\0", True: b"\1"}.__getitem__,
}
_encode_body = compile_encoder(TootRecord, record_fields())
