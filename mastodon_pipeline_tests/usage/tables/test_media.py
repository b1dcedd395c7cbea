"""`media_usage`: what toots have beside their text, and what is not known of older ones."""

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.tables.daily import MEDIA_USAGE
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.local_lake import (
    DAY,
    HOUR,
    Record,
    delete,
    in_order,
    land,
    record,
    rows,
)


def day_of(lake: Lake) -> list[Record]:
    """The day's rows, built from what has landed."""
    build_hours(lake, HOUR)
    return rows(lake, MEDIA_USAGE.build(lake, DAY).path)


def test_parts_and_shares_are_counted_by_home_server(lake: Lake) -> None:
    """A deleted toot counts as it was published."""
    parts: list[Record] = [
        {"media": 3, "links": 0, "has_quote": False},
        {"has_poll": True, "sensitive": True, "links": 2, "has_quote": True},
        {"reply": True, "media": 1, "links": 1, "has_quote": False},
        {"links": 0, "has_quote": False},
        {"server": "two.example", "media": 1, "links": 0, "has_quote": False},
    ]
    toots = [record(uri=f"u{n}", status_id=str(n), **fields) for n, fields in enumerate(parts)]
    land(lake, *in_order(*toots, delete(uri="u0", status_id="0")))
    first, second = day_of(lake)
    assert first == {
        "day": DAY,
        "server": "one.example",
        "toots": 4,
        "with_media": 2,
        "with_poll": 1,
        "with_warning": 1,
        "with_quote": 1,
        "self_replies": 1,
        "with_links": 2,
        "media_share": 0.5,
        "poll_share": 0.25,
        "warning_share": 0.25,
        "quote_share": 0.25,
        "self_reply_share": 0.25,
        "link_share": 0.5,
    }
    assert (second["server"], second["toots"], second["media_share"]) == ("two.example", 1, 1.0)


def test_quotes_and_links_of_older_records_are_not_known(lake: Lake) -> None:
    """Their files lack the columns; the shares are of the toots of which they are known."""
    land(lake, record(media=1), name="old", without=["has_quote", "links", "has_poll"])
    [row] = day_of(lake)
    assert (row["with_media"], row["with_quote"], row["with_links"]) == (1, 0, 0)
    assert (row["poll_share"], row["quote_share"], row["link_share"]) == (0.0, None, None)
    land(lake, record(uri="new", links=1, has_quote=True), name="new")
    [row] = day_of(lake)
    assert (row["toots"], row["with_quote"], row["quote_share"]) == (2, 1, 1.0)
