"""Authors who opt out, by their profile or by `noindex`: neither text nor name is recorded."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.listening.following.position import FeedPosition
from mastodon_pipeline.listening.following.recorder import TootRecorder
from mastodon_pipeline.listening.following.statistics import ServerStatistics
from mastodon_pipeline.listening.protocol.statuses import Account
from mastodon_pipeline.listening.records.people import People, opts_out_by_profile, pseudonym
from mastodon_pipeline.listening.records.record import ObservingServer, TootRecord
from mastodon_pipeline.listening.records.seen import SeenToots
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.recording_sink import RecordingSink

MASTODON_TAG = (
    '<p>Hi. <a href="https://a.example/tags/nobot" class="mention hashtag" rel="tag">'
    "#<span>NoBot</span></a></p>"
)
PLEROMA_TAG = '<a class="hashtag" data-tag="noindex" href="https://a.example/tag/x">#noindex</a>'
TOOT = {
    "id": "1",
    "uri": "https://a.example/objects/1",
    "url": "https://a.example/@ann/1",
    "created_at": "2026-05-01T10:00:00.000Z",
    "account": {"acct": "ann", "username": "ann"},
    "content": "<p>planted words</p>",
    "tags": [{"name": "planted"}],
}


@pytest.mark.parametrize(
    "profile",
    [
        {"note": MASTODON_TAG},
        {"note": PLEROMA_TAG},
        {"note": "no robots please #NOBOTS"},
        {"note": "<p>#noarchive</p>"},
        {"display_name": "Ann #nobot"},
        {"fields": [{"name": "Bots", "value": "#nobots"}]},
        {"fields": [{"name": "#noindex", "value": ""}]},
        {"fields": [{"name": 1, "value": "#nobot"}], "bot": "no boolean"},
        {"noindex": True},
    ],
)
@pytest.mark.parametrize("irregular", [False, True], ids=["strict", "tolerant"])
def test_opted_out_author_counts_without_text_hashtags_and_name(
    profile: dict[str, Any], irregular: bool
) -> None:
    """By both decoders. Shows G15 and P2."""
    toot = TOOT | {"account": TOOT["account"] | profile}  # type: ignore[operator]
    if irregular:
        toot["sensitive"] = "no boolean"
    [record] = recorded(toot, Settings(person_salt="salt"))
    assert (record.characters, record.words, record.tags) == (13, 2, 1)
    content = repr(record)
    assert "planted" not in content
    assert "ann" not in content
    assert record.username == record.acct == pseudonym("salt", "ann@a.example")


@pytest.mark.parametrize(
    "note", ["", "#bots", "nobot", "#nobody", "#noindexing", "#nobot_", "# nobot", "#<p>no</p>bot"]
)
def test_other_profiles_are_no_opt_out(note: str) -> None:
    account = {"acct": "ann", "username": "ann", "note": note}
    [record] = recorded(TOOT | {"account": account})
    assert record.username == "ann"
    assert record.mastodon_text == "planted words"


def test_profile_without_texts_is_no_opt_out() -> None:
    account = {"acct": "ann", "note": None, "display_name": None, "fields": [{"name": None}, "#"]}
    assert len(recorded(TOOT | {"account": account})) == 1


def test_remote_author_keeps_their_domain() -> None:
    """Whose word counts for a toot depends on it. Shows P2."""
    account = {"acct": "bo@b.example", "username": "bo", "note": "#nobot"}
    [record] = recorded(TOOT | {"account": account}, Settings(person_salt="salt"))
    assert record.acct == f"{record.username}@b.example"
    assert record.server == "b.example"
    assert record.username == pseudonym("salt", "bo@b.example")


def test_pseudonym_tells_accounts_apart_and_depends_on_the_salt() -> None:
    assert pseudonym("salt", "ann@a.example") == pseudonym("salt", "ann@a.example")
    assert pseudonym("salt", "ann@a.example") != pseudonym("salt", "bo@a.example")
    assert pseudonym("salt", "ann@a.example") != pseudonym("pepper", "ann@a.example")
    assert pseudonym("", "ann@a.example") == ""


def test_opted_out_author_is_not_recorded_if_the_setting_says_so() -> None:
    """`COUNT_OPTED_OUT=false`: it is counted as excluded. Shows P2."""
    statistics = ServerStatistics(parse_server("a.example"))
    opted_out = TOOT | {"account": {"acct": "ann", "note": "#nobot"}}
    assert not recorded(opted_out, Settings(count_opted_out=False), statistics)
    assert statistics.snapshot().excluded == 1
    assert recorded(TOOT, Settings(count_opted_out=False), statistics)


@pytest.mark.parametrize("count", [True, False])
def test_opted_out_author_leaves_no_dead_letter(count: bool) -> None:
    """It would hold the text. Shows P2."""
    broken = TOOT | {"account": {"acct": "ann", "note": "#nobot"}, "created_at": "no time"}
    sink, statistics = RecordingSink(), ServerStatistics(parse_server("a.example"))
    take(broken, Settings(count_opted_out=count), sink, statistics)
    assert not sink.dead_letters
    assert statistics.excluded == 1
    take(broken | {"account": {"acct": "bo"}}, Settings(), sink, statistics)
    assert len(sink.dead_letters) == 1


def test_hostile_profile_costs_little() -> None:
    """The search is linear. Shows G6."""
    began = time.process_time()
    for piece in ("#", "#<", "#<<>", "#<" + "a" * 199, "<#", "#<a><b><c>n"):
        opts_out_by_profile(Account("ann", note=piece * 1_000_000))
    assert time.process_time() - began < 2


BLOCKED = {"account": {"acct": "eve@sub.bad.example", "username": "eve"}, "id": "2"}
PERSON = {"account": {"acct": "Mallory@c.example", "username": "Mallory"}, "id": "3"}


@pytest.fixture
def blocklist(tmp_path: Path) -> Path:
    path = tmp_path / "blocks.csv"
    path.write_text("#domain,#severity\nbad.example,suspend\n")
    return path


def test_blocked_author_is_not_recorded_whoever_lists_it(blocklist: Path) -> None:
    """Nor kept as a dead letter; the toots of others are. Shows P6."""
    blocklist.with_name("people.csv").write_text("mallory@c.example\n")
    settings = Settings(blocklist=f"{blocklist},{blocklist.with_name('people.csv')}")
    sink, statistics = RecordingSink(), ServerStatistics(parse_server("a.example"))
    for blocked in (BLOCKED, PERSON):
        for event in ("update", "status.update"):
            take(TOOT | blocked, settings, sink, statistics, event)
        take(TOOT | blocked | {"created_at": "no time"}, settings, sink, statistics)
    assert not sink.records
    assert not sink.dead_letters
    assert statistics.excluded == 6
    take(TOOT, settings, sink, statistics)
    assert [record.username for record in sink.records] == ["ann"]


def test_toot_of_the_forgotten_is_recorded_without_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, however often it is listed; its delete follows it. Shows P7."""
    monkeypatch.setenv("MASTODON_PIPELINE_DATA", str(tmp_path))
    (tmp_path / "forgotten.txt").write_text(pseudonym("salt", "ann@a.example") + "\n")
    sink, statistics = RecordingSink(), ServerStatistics(parse_server("a.example"))
    recorder = TootRecorder(
        ObservingServer("https://a.example", "a.example"),
        sink,
        SeenToots(),
        FeedPosition(None),
        statistics,
        People(Settings(person_salt="salt")),
    )
    others = TOOT | {"id": "2", "uri": "https://a.example/2", "account": {"acct": "bo"}}
    for payload in (TOOT, TOOT, others):
        recorder.take(json.dumps(payload).encode(), "update", "poll")
    recorder.take(b"1", "delete", "stream")
    toot, other, delete = sink.records
    assert "planted" not in repr(toot)
    assert "ann" not in repr(toot)
    assert toot.uri == delete.uri != ""
    assert toot.uri.startswith("https://a.example/~")
    assert (toot.characters, toot.tags) == (13, 1)
    assert other.mastodon_text == "planted words"


def test_list_of_the_forgotten_that_cannot_be_read_stops_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never means that nobody was forgotten. Shows P7."""
    monkeypatch.setenv("MASTODON_PIPELINE_DATA", str(tmp_path))
    (tmp_path / "forgotten.txt").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match=r"forgotten\.txt"):
        People(Settings(person_salt="salt"))


def recorded(
    toot: dict[str, Any],
    settings: Settings | None = None,
    statistics: ServerStatistics | None = None,
) -> list[TootRecord]:
    sink = RecordingSink()
    statistics = statistics or ServerStatistics(parse_server("a.example"))
    take(toot, settings or Settings(), sink, statistics)
    assert not sink.dead_letters
    return sink.records


def take(
    toot: dict[str, Any],
    settings: Settings,
    sink: RecordingSink,
    statistics: ServerStatistics,
    event: str = "update",
) -> None:
    observer = ObservingServer("https://a.example", "a.example")
    recorder = TootRecorder(
        observer, sink, SeenToots(), FeedPosition(None), statistics, People(settings)
    )
    recorder.take(json.dumps(toot).encode(), event, "stream")
    tally = recorder.position.tallies.at(time.time_ns() // 1_000_000)
    assert tally.received == 1
