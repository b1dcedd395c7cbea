"""Statuses are decoded by type, else tolerantly, else rejected with a reason; never otherwise."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.simulator.faults import MALFORMED, ODD, odd_status
from mastodon_pipeline.errors import UndecodableStatus
from mastodon_pipeline.listening.protocol.statuses import (
    Status,
    decode_deleted_id,
    decode_page,
    decode_status,
    is_public,
    may_be_kept,
    status_id_of,
)
from mastodon_pipeline.listening.records.record import ObservingServer, toot_record
from mastodon_pipeline.listening.topic.encoding import decode, encode

PLAIN: dict[str, Any] = {
    "id": "114",
    "uri": "https://a.example/1",
    "created_at": "2026-05-01T10:00:00.000Z",
    "account": {"acct": "ann", "username": "ann"},
    "content": "<p>hello</p>",
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [*Status.__struct_fields__, "unknown"]
ACCOUNT_FIELDS = ["acct", "username", "bot", "noindex", "indexable"]


def with_field(name: str, value: object) -> bytes:
    return json.dumps(PLAIN | {name: value}).encode()


def test_status_with_only_the_required_fields_is_decoded() -> None:
    """All other fields may be missing."""
    status = decode_status(json.dumps(PLAIN).encode())
    assert (status.id, status.uri, status.account.acct) == ("114", "https://a.example/1", "ann")
    assert status.created_at == datetime(2026, 5, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize("status_id", ["01J8ZQ7V5Q2H3KX", "9vYk3", 114, 2**70])
def test_ids_are_opaque(status_id: str | int) -> None:
    """Numbers of any size, ULIDs and flake ids are unchanged."""
    assert str(decode_status(with_field("id", status_id)).id) == str(status_id)


@pytest.mark.parametrize("name", sorted(ODD))
def test_oddities_of_other_software_lose_only_themselves(name: str) -> None:
    """Null lists, huge numbers, lone surrogates and the like do not cost the toot."""
    uri, payload = odd_status(name, "a.example", 1)
    assert decode_status(payload).uri == uri


@pytest.mark.parametrize("name", sorted(MALFORMED))
def test_payload_that_is_not_a_status_is_rejected_with_a_reason(name: str) -> None:
    """The reason goes into the dead letter. Shows G9."""
    with pytest.raises(UndecodableStatus, match=r".+"):
        decode_status(MALFORMED[name])


@pytest.mark.parametrize("missing", ["id", "uri", "created_at", "account"])
def test_status_without_a_required_field_is_rejected(missing: str) -> None:
    """A toot without id, uri, time or author cannot be counted."""
    with pytest.raises(UndecodableStatus):
        decode_status(json.dumps({k: v for k, v in PLAIN.items() if k != missing}).encode())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("uri", "https://a.example/\0"),
        ("url", "\0"),
        ("content", "a\0b"),
        ("language", "e\0n"),
        ("visibility", "pub\0lic"),
        ("application", {"name": "We\0b"}),
        ("tags", [{"name": "one"}, {"name": "t\0wo"}]),
        ("account", {"acct": "an\0n", "username": "a\0nn"}),
        ("id", "11\0"),
    ],
)
def test_nul_is_removed_from_every_field(field: str, value: object) -> None:
    """JSON can contain it; databases reject it."""
    status = decode_status(with_field(field, value))
    observer = ObservingServer("https://a.example", "a.example")
    record = toot_record(status, "update", observer, "stream", 1_800_000_000_000)
    assert "\\x00" not in repr(record)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("uri", "https://a.example/" + "x" * 4096),
        ("id", "1" * 4097),
        ("account", {"acct": "a" * 4097}),
    ],
)
def test_overlong_identity_is_rejected(field: str, value: object) -> None:
    """The latest 200,000 toots are kept in memory for their deletes."""
    with pytest.raises(UndecodableStatus, match="over 4096 characters"):
        decode_status(with_field(field, value))


def test_page_is_split_into_undecoded_statuses() -> None:
    """So that one bad status does not spoil its page."""
    page = json.dumps([PLAIN, {"id": 7}, None]).encode()
    assert [status_id_of(item) for item in decode_page(page)] == ["114", "7", ""]


def test_page_with_a_lone_surrogate_is_read() -> None:
    """msgspec rejects such JSON as a whole; the tolerant pass does not."""
    page = b'[{"id": "1", "content": "\\ud800"}]'
    assert [status_id_of(item) for item in decode_page(page)] == ["1"]


def test_page_that_is_not_an_array_is_rejected() -> None:
    """Such as an error object."""
    with pytest.raises(UndecodableStatus):
        decode_page(b'{"error": "down"}')


@settings(deadline=None)
@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_decoded_or_rejected(payload: bytes) -> None:
    """No payload crashes the decoder. Shows G9."""
    with suppress(UndecodableStatus):
        assert isinstance(decode_status(payload), Status)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=4),
    st.dictionaries(st.sampled_from(ACCOUNT_FIELDS), json_values, max_size=3),
)
def test_decoded_status_fits_the_schema(
    fields: dict[str, object], account: dict[str, object]
) -> None:
    """Hostile values in any field: rejected when decoding, or a record that Avro can encode."""
    payload = PLAIN | {"account": PLAIN["account"] | account} | fields
    try:
        status = decode_status(json.dumps(payload).encode())
    except UndecodableStatus:
        return
    observer = ObservingServer("https://a.example", "a.example")
    record = toot_record(status, "update", observer, "stream", 1_800_000_000_000)
    assert decode(encode(record, 1)).uri == record.uri


@pytest.mark.parametrize("payload", [b"114", b'"114"', b" 114\n"])
def test_delete_names_a_status_id(payload: bytes) -> None:
    assert decode_deleted_id(payload) == "114"


@pytest.mark.parametrize("payload", [b"", b" ", b'""', b"x" * 201])
def test_delete_without_a_usable_id_is_rejected(payload: bytes) -> None:
    with pytest.raises(UndecodableStatus, match="without an id"):
        decode_deleted_id(payload)


@pytest.mark.parametrize("flag", [True, 1, "true", "True", " TRUE ", "1", "yes", 2, "please", [1]])
def test_noindex_counts_in_any_spelling(flag: object) -> None:
    """Anything but a no: an author's wish is not lost to a server's spelling. Shows G15."""
    assert decode_status(with_field("account", {"acct": "ann", "noindex": flag})).account.noindex


@pytest.mark.parametrize("flag", [None, False, 0, "", "false", "0", "no", "null", [], {}])
def test_no_is_a_no_in_any_spelling(flag: object) -> None:
    status = decode_status(with_field("account", {"acct": "ann", "noindex": flag}))
    assert not status.account.noindex
    assert is_public(decode_status(with_field("local_only", flag)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("visibility", "private"),
            ("visibility", "direct"),
            ("visibility", "PRIVATE"),
            ("visibility", " direct "),
            ("visibility", "limited"),
            ("visibility", "local"),
            ("visibility", "mutuals_only"),
            ("visibility", 3),
            ("visibility", ["private"]),
            ("visibility", {}),
        ),
        *(("local_only", True), ("local_only", 1), ("local_only", "true"), ("local_only", "yes")),
    ],
)
def test_toot_that_not_everybody_may_read_is_not_public(field: str, value: object) -> None:
    """Neither recorded nor, if it cannot be, kept as a dead letter. Shows G15."""
    payload = with_field(field, value)
    assert not is_public(decode_status(payload))
    assert not may_be_kept(payload)


@pytest.mark.parametrize("visibility", [None, "", "public", "Public", "unlisted"])
def test_toot_that_everybody_may_read_is_public(visibility: object) -> None:
    payload = with_field("visibility", visibility)
    assert is_public(decode_status(payload))
    assert may_be_kept(payload)


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"null", b'{"id": 1}'])
def test_payload_without_visibility_may_be_kept(payload: bytes) -> None:
    assert may_be_kept(payload)
