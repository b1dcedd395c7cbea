"""`live`: at any moment what the tables will say once all has landed and is built."""

import dataclasses
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mastodon_pipeline.errors import KafkaUnavailable
from mastodon_pipeline.maintenance.forgetting import change_list, hour_of
from mastodon_pipeline.usage.live.hours import LiveHours
from mastodon_pipeline.usage.live.tables import LIVE_TABLES, LiveTables
from mastodon_pipeline.usage.live.tail import Tail
from mastodon_pipeline.usage.live.views import create_live_views
from mastodon_pipeline.usage.views import create_views, table_folders
from mastodon_pipeline_tests.support.building import build_day, build_hours
from mastodon_pipeline_tests.support.live_lake import LiveLake, live_lake
from mastodon_pipeline_tests.support.local_lake import HOUR, Record, delete, record

pytestmark = pytest.mark.thorough

HOURS = [HOUR - timedelta(hours=16), HOUR - timedelta(hours=1), HOUR]
"""One of the day before."""
SERVERS = ["https://one.example", "https://two.example", "https://three.example"]
Step = Callable[[LiveLake], None]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveLake]:
    """An empty lake with an empty topic."""
    with live_lake(tmp_path) as opened:
        yield opened


def build(live: LiveLake, *hours: datetime) -> None:
    """Build these hours, as far as something of them has landed, and their days."""
    live.lake.landed.refresh()
    landed = sorted(live.lake.landed.of_hours(hours))
    build_hours(live.lake, *landed)
    for day in sorted({hour.date() for hour in landed}):
        build_day(live.lake, day)


def build_counts_only(live: LiveLake) -> None:
    """Build the hour, and leave its day's tables behind."""
    if live.lake.landed.of_hour(HOUR):
        build_hours(live.lake, HOUR)


@st.composite
def records(draw: st.DrawFn) -> Record:
    """A toot of few, by one of three servers: new, edited or deleted, with or without its uri."""
    home, number = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    observer = draw(st.integers(0, 2))
    hour = HOURS[number]
    uri = f"{SERVERS[home]}/{number}"
    event = draw(st.sampled_from(["update", "update", "update", "status.update", "delete"]))
    name = f"user{home}"
    common = {
        "uri": draw(st.sampled_from([uri, uri, uri, ""])),
        "status_id": draw(st.sampled_from([f"{home}{number}", f"{number}", ""])),
        "base_url": SERVERS[observer],
        "server": SERVERS[home].removeprefix("https://"),
        "created_at": hour + timedelta(minutes=number),
        "ingested_at": hour + timedelta(minutes=draw(st.integers(0, 9))),
        "source": draw(st.sampled_from(["stream", "gap"])),
    }
    if not common["uri"] and not common["status_id"]:
        common["status_id"] = "9"
    if event == "delete":
        return delete(**common)
    edited = draw(st.integers(5, 9)) if event == "status.update" else None
    return record(
        **common,
        event=event,
        edited_at=edited and hour + timedelta(minutes=edited),
        username=name,
        acct=name if observer == home else f"{name}@{common['server']}",
        app=draw(st.sampled_from(["", "Tusky"])),
        language_primary=draw(st.sampled_from(["en", "de"])),
        mastodon_text=draw(st.sampled_from(["", "hello", "good-bye"])),
    )


def steps() -> st.SearchStrategy[Step]:
    """Something that happens: a record is produced, some land, or an hour is built."""
    partition = st.integers(0, 1)
    return st.one_of(
        st.builds(
            lambda number, record: lambda live: live.topic.produce(number, record),
            partition,
            records(),
        ),
        background(),
    )


def background() -> st.SearchStrategy[Step]:
    """Something that changes no count: some records land, or hours are built."""
    partition = st.integers(0, 1)
    return st.one_of(
        st.builds(
            lambda number, count: lambda live: live.land(number, count),
            partition,
            st.integers(1, 4),
        ),
        st.builds(lambda hour: lambda live: build(live, hour), st.sampled_from(HOURS)),
        st.just(build_counts_only),
    )


def assert_live_is_what_tables_will_say(live: LiveLake) -> None:
    """Compare the live tables with a lake in which all has landed and is built."""
    now = live.tables()
    again = live.tables()
    live.land_all()
    build(live, *HOURS)
    assert now == live.built()
    assert again == now
    assert live.tables() == now, "and so it stays"


@given(
    before=st.lists(steps(), max_size=24),
    meanwhile=st.lists(background(), max_size=6),
    after=st.lists(steps(), max_size=6),
)
@settings(max_examples=20)
def test_live_equals_the_tables_once_all_has_landed_and_is_built(
    before: list[Step], meanwhile: list[Step], after: list[Step]
) -> None:
    """Whatever has landed and is built, and though it does while the query is prepared.

    Shows G27.
    """
    with TemporaryDirectory() as directory, live_lake(Path(directory)) as live:
        for step in before:
            step(live)
        waiting = list(meanwhile)

        def interfere(_: str) -> None:
            if waiting:
                waiting.pop(0)(live)

        live.topic.between = interfere
        live.rows("toots_per_server_per_hour")
        live.topic.between = lambda _: None
        for step in [*waiting, *after]:
            step(live)
        assert_live_is_what_tables_will_say(live)


def produce(live: LiveLake, *uris: str, hour: datetime = HOUR) -> None:
    """Produce a toot of each uri."""
    for uri in uris:
        live.topic.produce(0, record(uri=uri, status_id=uri, created_at=hour))


def test_toots_of_a_topic_that_was_made_again_are_counted(live: LiveLake) -> None:
    """Its offsets begin again; what had landed of the earlier topic stays. Shows G27."""
    produce(live, "a", "b", "c")
    live.land(0, 2)
    assert len(live.rows("toots")) == 3
    live.topic.clear()
    produce(live, "d", "e", "f", "g")
    assert {row["uri"] for row in live.rows("toots")} == {"a", "b", "d", "e", "f", "g"}
    assert_live_is_what_tables_will_say(live)


def test_topic_that_is_made_again_while_it_is_read_is_read_again(live: LiveLake) -> None:
    produce(live, "a", "b")
    live.land(0, 1)

    def replace_topic(call: str) -> None:
        if call == "read" and live.topic.generation == 1:
            live.topic.clear()
            produce(live, "c", "d")

    live.topic.between = replace_topic
    assert {row["uri"] for row in live.rows("toots")} == {"a", "c", "d"}


def test_toots_that_land_between_two_queries_are_counted(live: LiveLake) -> None:
    """Though the tail never had them."""
    assert live.rows("toots") == []
    produce(live, "a", "b")
    live.land_all()
    produce(live, "c")
    assert {row["uri"] for row in live.rows("toots")} == {"a", "b", "c"}


def test_toot_of_the_next_hour_waits_until_that_begins(live: LiveLake) -> None:
    """As in the tables."""
    later = HOUR + timedelta(hours=1)
    produce(live, "early", hour=later)
    assert live.rows("toots") == []
    live.clock = lambda: later
    assert [row["uri"] for row in live.rows("toots")] == ["early"]


def test_toot_of_long_ago_counts_once_somebody_vouches_for_its_month(live: LiveLake) -> None:
    """The tables begin with that month then; what is before FIRST_DAY is never counted."""
    long_ago = HOUR - timedelta(days=200)
    produce(live, "claimed", hour=long_ago)
    produce(live, "older", hour=HOUR - timedelta(days=3650))
    assert live.rows("toots") == []
    live.topic.produce(1, record(uri="replayed", source="replay", created_at=long_ago))
    assert [row["uri"] for row in live.rows("toots")] == ["claimed", "replayed"]
    live.land_all()
    assert [row["uri"] for row in live.rows("toots")] == ["claimed", "replayed"]


def test_all_views_in_a_transaction_are_of_one_cut(live: LiveLake) -> None:
    produce(live, "a")
    live.connection.execute("BEGIN")
    assert len(live.rows("toots")) == 1
    produce(live, "b")
    assert live.rows("daily_usage")[0]["toots"] == 1
    live.connection.execute("COMMIT")
    assert live.rows("daily_usage")[0]["toots"] == 2


def test_damaged_landed_file_stops_no_query(live: LiveLake) -> None:
    """It is left out, as from the tables."""
    produce(live, "a", "b")
    live.land_all()
    [file] = live.lake.parquet_files(live.lake.layout.landed())
    content = bytearray(Path(file.path).read_bytes())
    live.rows("toots")
    produce(live, "c")
    live.land_all()
    content[4:200] = b"x" * 196
    Path(file.path).write_bytes(content)
    assert {row["uri"] for row in live.rows("toots")} == {"c"}


def bounded(live: LiveLake, **bounds: int) -> duckdb.DuckDBPyConnection:
    """Return a connection with live views over the same, with these bounds."""
    lake = live.readers_lake
    tail_bounds = {name: bounds.pop(name) for name in ("max_records",) if name in bounds}
    tail = Tail(live.topic, lake.connection, lake.empty_record, **tail_bounds)
    connection = duckdb.connect(":memory:")
    create_live_views(
        connection,
        lambda empty, directory: (
            LiveTables(
                lake, LiveHours(lake, tail, datetime.min.date(), directory, **bounds), empty
            ),
            lambda: None,
        ),
        live.notes.append,
        same_cut_seconds=0.0,
    )
    return connection


def test_a_tail_that_is_too_long_is_cut_and_that_is_said(live: LiveLake) -> None:
    """The first records are counted; and all once the sink has come closer."""
    produce(live, *"abcdefgh")
    with bounded(live, max_records=6) as connection:
        count = "SELECT count(*) FROM live.toots"
        assert connection.execute(count).fetchone() == (3,), "of two partitions, each a half"
        note = "the sink is so far behind that 5 records of the topic are not counted"
        assert live.notes == [note]
        live.land(0, 6)
        assert connection.execute(count).fetchone() == (8,)
        assert live.notes == [note]


def test_hours_beyond_the_bound_are_as_in_the_tables_and_that_is_said(live: LiveLake) -> None:
    """The newest are brought up to date."""
    for number in range(3):
        produce(live, f"{number}", hour=HOUR - timedelta(hours=number))
    with bounded(live, max_hours=2) as connection:
        uris = connection.execute("SELECT uri FROM live.toots ORDER BY uri").fetchall()
        assert uris == [("0",), ("1",)]
        assert live.notes == [
            "1 hours are as in the tables, though more has come: they are before"
            " 2026-11-24 14:00 UTC"
        ]


def test_live_views_have_the_columns_of_the_tables(live: LiveLake) -> None:
    """The same names, order and types, so any query works on both."""
    produce(live, "a")
    live.land_all()
    build(live, *HOURS)
    create_views(
        live.connection,
        table_folders(live.lake.layout),
        lambda folder: next((file.path for file in live.lake.list_files(folder)), None),
    )
    for name in [*(table.name for table in LIVE_TABLES), "mastodon_toot"]:
        described = [
            live.connection.execute(f"DESCRIBE {schema}.{name}").fetchall()
            for schema in ("main", "live")
        ]
        assert described[0] == described[1], name


def test_query_of_a_day_reads_only_that_days_files(live: LiveLake) -> None:
    """Live views cost no more with more history."""
    produce(live, "a")
    produce(live, "b", hour=HOUR - timedelta(days=1))
    live.land_all()
    build(live, HOUR, HOUR - timedelta(days=1))
    day = HOUR.date() - timedelta(days=1)
    plan = live.connection.execute(
        f"EXPLAIN ANALYZE SELECT count(*) FROM live.toots WHERE day = '{day}'"
    ).fetchall()
    assert "Scanning Files: 1/2" in plan[0][1]


def test_kafka_is_asked_only_when_a_live_view_is() -> None:
    """While it is away, live views fail, and others do not."""
    connection = duckdb.connect(":memory:")
    asked = []

    def unavailable(
        empty: dict[str, str], directory: Path
    ) -> tuple[LiveTables, Callable[[], None]]:
        asked.append(directory)
        raise KafkaUnavailable("Kafka at 127.0.0.1:9 does not answer")

    create_live_views(connection, unavailable)
    assert connection.execute("SELECT 1").fetchall() == [(1,)]
    assert asked == []
    with pytest.raises(duckdb.Error, match=r"Kafka at 127\.0\.0\.1:9 does not answer"):
        connection.execute("FROM live.toots")
    assert connection.execute("SELECT 1").fetchall() == [(1,)]


SALT = "a salt"
FORGOTTEN = record(
    uri="https://one.example/users/ann/statuses/1",
    url="https://one.example/@ann/1",
    username="ann",
    acct="ann",
    mastodon_text="planted words",
    tags=1,
    tag_names=["planted"],
)


def forget(live: LiveLake, *accounts: str, until: datetime | None = None) -> None:
    """Add to the list of the forgotten, and build the hours that are built again."""
    change_list(
        live.lake,
        lambda names: dataclasses.replace(names.with_names(accounts), persons_until=until),
    )
    live.readers_lake.forgotten.expire()
    built = live.lake.parquet_files(live.lake.layout.table("toots"))
    build(live, *filter(None, map(hour_of, built)))


def shown(live: LiveLake) -> str:
    """Return all that live tables show."""
    return repr(live.tables()).lower()


@pytest.mark.parametrize("built", [False, True])
def test_person_who_was_forgotten_is_not_shown_from_the_topic(tmp_path: Path, built: bool) -> None:
    """Toots, copies, edits and deletes that Kafka has, and landed ones. Shows P7 and G27."""
    with live_lake(tmp_path, SALT) as live:
        live.topic.produce(0, record(username="bo", acct="bo"))
        if built:
            live.topic.produce(0, FORGOTTEN)
        live.land_all()
        build(live, HOUR)
        if built:
            assert "planted" in shown(live)
        forget(live, "ann@one.example")
        copy = FORGOTTEN | {"base_url": "https://two.example", "acct": "ann@one.example"}
        live.topic.produce(1, copy | {"edited_at": HOUR + timedelta(minutes=3), "status_id": "7"})
        text = shown(live)
        for gone in ("planted", "/ann", "'ann"):
            assert gone not in text
        assert len(live.rows("toots")) == 2
        live.topic.produce(1, delete(uri=FORGOTTEN["uri"], server="one.example"))
        assert [row["deleted"] for row in live.rows("toots")].count(True) == 1
        assert_live_is_what_tables_will_say(live)


def test_old_toots_from_the_topic_name_nobody(tmp_path: Path) -> None:
    """After PERSON_RETENTION_DAYS, though the day's tables are behind. Shows P8, G27 and G28."""
    with live_lake(tmp_path, SALT) as live:
        live.topic.produce(0, FORGOTTEN)
        live.land_all()
        build(live, HOUR)
        mentions = live.rows("term_mentions")
        forget(live, until=HOUR.replace(hour=0) + timedelta(days=1))
        live.topic.produce(0, FORGOTTEN | {"source": "replay"})
        live.topic.produce(1, FORGOTTEN | {"uri": f"{FORGOTTEN['uri']}2", "status_id": "12"})
        assert len(live.rows("toots")) == 2
        assert live.rows("daily_usage")[0]["users"] == 1
        assert live.rows("term_mentions") == mentions
        text = shown(live)
        for gone in ("planted words", "/ann", "'ann"):
            assert gone not in text
        assert_live_is_what_tables_will_say(live)


@given(st.lists(steps(), max_size=16), st.booleans(), st.lists(steps(), max_size=8))
@settings(max_examples=10)
def test_live_equals_the_tables_also_where_people_were_forgotten(
    before: list[Step], everybody: bool, after: list[Step]
) -> None:
    """Some of them, or everybody on the earlier of two days. Shows G27 and G28."""
    with TemporaryDirectory() as directory, live_lake(Path(directory), SALT) as live:
        for step in before:
            step(live)
        until = HOUR.replace(hour=0) if everybody else None
        forget(live, "user0@one.example", until=until)
        for step in after:
            step(live)
        assert_live_is_what_tables_will_say(live)
