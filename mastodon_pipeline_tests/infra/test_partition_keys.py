"""The webserver lists a definition's partitions once, and answers what Dagster's would."""

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg
import pytest
from graphql import (
    ExecutionContext,
    GraphQLError,
    build_schema,
    graphql_sync,
)

from infra.webserver.partition_keys import answer_texts_at_once, remember_partition_keys

DEFINITION = dg.TimeWindowPartitionsDefinition
LIST_KEYS = DEFINITION.get_partition_keys


def hours_from(start: datetime) -> DEFINITION:
    """Return hours, with the running one, as those of the tables."""
    return DEFINITION(
        cron_schedule="0 * * * *", start=start, fmt="%Y-%m-%d-%H:%M", end_offset=1, timezone="UTC"
    )


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> list[DEFINITION]:
    """Remember keys in this test alone; return the definitions that Dagster lists from then on."""
    listed = []

    def list_keys(self: DEFINITION) -> Sequence[str]:
        listed.append(self)
        return LIST_KEYS(self)

    monkeypatch.setattr(DEFINITION, "get_partition_keys", list_keys)
    remember_partition_keys()
    return listed


def test_keys_are_listed_once_an_hour_for_all_pages(listings: list[DEFINITION]) -> None:
    """An hour that ends has them listed again; so does an earlier first day."""
    hours, longer = (
        hours_from(datetime(2026, 11, 1, tzinfo=UTC)),
        hours_from(datetime(2026, 10, 31)),
    )
    moments = [datetime(2026, 11, 2, *time, tzinfo=UTC) for time in ((9, 0), (9, 59), (10, 0))]
    for moment in moments:
        for definition in (hours, longer, hours):
            shown = definition.get_partition_keys(current_time=moment)
            assert shown == LIST_KEYS(definition, current_time=moment)
    assert listings == [hours, longer] * 2


def test_page_may_change_its_list_of_keys(listings: list[DEFINITION]) -> None:
    """The next page has all of them again."""
    hours, now = hours_from(datetime(2026, 11, 1, tzinfo=UTC)), datetime(2026, 11, 1, 3, tzinfo=UTC)
    keys = hours.get_partition_keys(current_time=now)
    assert isinstance(keys, list)
    keys.clear()
    assert len(hours.get_partition_keys(current_time=now)) == 4


def test_definition_that_has_not_begun_has_no_keys(listings: list[DEFINITION]) -> None:
    """Nor is anything remembered for it."""
    ended = DEFINITION(
        cron_schedule="0 * * * *", start=datetime(2027, 1, 1), fmt="%Y-%m-%d-%H:%M", timezone="UTC"
    )
    assert ended.get_partition_keys(current_time=datetime(2026, 11, 1, tzinfo=UTC)) == []
    assert listings == []


@pytest.mark.parametrize(
    ("texts", "answer"),
    [
        (["a", "b"], ["a", "b"]),
        ([], []),
        (("a", "b"), ["a", "b"]),
        (["a", None, 1, True], ["a", None, "1", "true"]),
        (["a", GraphQLError("wrong")], ["a", None]),
        (None, None),
    ],
)
def test_list_of_texts_is_answered_as_it_is(
    monkeypatch: pytest.MonkeyPatch, texts: object, answer: object
) -> None:
    """And any other list item by item."""
    complete = ExecutionContext.complete_list_value
    monkeypatch.setattr(ExecutionContext, "complete_list_value", complete)
    schema = build_schema("type Query { texts: [String], strict: [String!], numbers: [Int!] }")
    root = {"texts": texts, "strict": ["a"], "numbers": [1, 2]}
    expected = graphql_sync(schema, "{ texts strict numbers }", root)
    answer_texts_at_once()
    answered = graphql_sync(schema, "{ texts strict numbers }", root)
    assert answered == expected
    assert answered.data == {"texts": answer, "strict": ["a"], "numbers": [1, 2]}
