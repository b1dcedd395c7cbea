"""New ids keep the order of each run's events and of the index, and what refers to them."""

from mastodon_pipeline.moving.event_ids import Position, new_event_ids


def event(id: int, at: int, text: str = "") -> Position:
    return Position(id, f"2026-11-27 00:00:{at:02}.000000", hash(text or f"{id}-{at}"))


def test_events_of_a_run_keep_their_order_around_those_of_the_index() -> None:
    run = [event(1, 1), event(2, 2, "built"), event(3, 3), event(4, 4, "checked"), event(5, 5)]
    ids = new_event_ids([("a", event(8, 2, "built")), ("a", event(9, 4, "checked"))], [("a", run)])
    own = ids.of_runs["a"]
    assert [own[1], ids.of_index[8], own[3], ids.of_index[9], own[5]] == [1, 2, 3, 4, 5]


def test_index_keeps_its_order_whatever_the_clocks_say() -> None:
    index = [("a", event(1, 9, "first")), ("b", event(2, 1, "second")), ("", event(3, 5, "third"))]
    runs = [("a", [event(1, 9, "first"), event(2, 9)]), ("b", [event(1, 0), event(2, 1, "second")])]
    ids = new_event_ids(index, runs)
    assert ids.of_index[1] < ids.of_index[2] < ids.of_index[3]
    assert ids.of_index[1] < ids.of_runs["a"][2]
    assert ids.of_runs["b"][1] < ids.of_index[2]
    every = [*ids.of_index.values(), *(id for run in ids.of_runs.values() for id in run.values())]
    assert sorted(every) == [1, 2, 3, 4, 5]


def test_same_event_twice_is_twice() -> None:
    index = [("a", event(1, 1, "same")), ("a", event(2, 1, "same"))]
    ids = new_event_ids(index, [("a", [event(1, 1, "same"), event(2, 1, "same")])])
    assert ids.of_index == {1: 1, 2: 2}
    assert not ids.of_runs.get("a")


def test_events_refer_to_the_new_ids() -> None:
    ids = new_event_ids([("a", event(7, 1)), ("a", event(9, 2))], [])
    text = (
        '{"tags": {"dagster/input_event_pointer/toots": "9"}, "storage_id": 7, "text":'
        ' "a toot with \\"storage_id\\": 7", "other": {"storage_id": 8}}'
    )
    assert ids.referred(text) == (
        '{"tags": {"dagster/input_event_pointer/toots": "2"}, "storage_id": 1, "text":'
        ' "a toot with \\"storage_id\\": 7", "other": {"storage_id": 8}}'
    )
