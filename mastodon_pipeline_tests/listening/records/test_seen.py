"""The memory of seen toots, by which deletes find theirs."""

from mastodon_pipeline.listening.records.record import SeenToot, TootRecord
from mastodon_pipeline.listening.records.seen import SeenToots

SERVER = "https://a.example"


def toot(number: int) -> TootRecord:
    return TootRecord(
        uri=f"{SERVER}/{number}", status_id=str(number), base_url=SERVER, server="a.example"
    )


def test_oldest_toots_are_forgotten_first() -> None:
    seen = SeenToots(limit=2)
    for number in range(3):
        seen.remember(toot(number))
    assert seen.get(SERVER, "0") is None
    assert seen.get(SERVER, "2") == SeenToot(f"{SERVER}/2", "a.example", 0)


def test_recalled_toots_are_known_to_deletes_alone() -> None:
    """They must not end the reading of a gap: what lies between may be missing."""
    seen = SeenToots()
    seen.recall(toot(1))
    assert seen.get(SERVER, "1") is None
    assert seen.of_deleted(SERVER, "1") == SeenToot(f"{SERVER}/1", "a.example", 0)


def test_toots_of_different_servers_with_one_id_are_told_apart() -> None:
    seen = SeenToots()
    seen.remember(toot(1))
    assert seen.of_deleted("https://b.example", "1") is None
