"""Spreading servers over groups, and handing them over."""

import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mastodon_pipeline.listening.supervising.groups import (
    Assignment,
    group_names,
    group_of,
    hand_over,
    spread,
)
from mastodon_pipeline.settings import Server

names = st.lists(st.from_regex(r"[a-z]{1,8}\.example", fullmatch=True), unique=True, max_size=40)
NOW = 1_000_000.0


def servers(*hosts: str) -> tuple[Server, ...]:
    return tuple(Server(f"https://{host}") for host in hosts)


def urls(assignment: Assignment) -> set[str]:
    return {server.base_url for server in assignment.servers}


@given(names, st.integers(1, 16))
def test_every_server_has_exactly_one_group(hosts: list[str], count: int) -> None:
    """None is left out, none is in two."""
    spread_out = [server for group in spread(servers(*hosts), count).values() for server in group]
    assert sorted(server.base_url for server in spread_out) == sorted(
        server.base_url for server in servers(*hosts)
    )


@given(names, st.integers(1, 16), st.randoms())
def test_other_servers_move_nobody(hosts: list[str], count: int, rng: random.Random) -> None:
    """Whichever are added or removed, and in whatever order they are written."""
    some = [host for host in hosts if rng.random() < 0.5]
    rng.shuffle(some)
    whole, part = spread(servers(*hosts), count), spread(servers(*some), count)
    assert all(set(part[group]) <= set(whole[group]) for group in whole)


@given(names, st.integers(1, 15))
def test_one_more_group_takes_from_all_and_gives_to_none(hosts: list[str], count: int) -> None:
    """Whoever moves, moves to the new group."""
    before, after = group_names(count), group_names(count + 1)
    for server in servers(*hosts):
        was, now = group_of(server.base_url, before), group_of(server.base_url, after)
        assert now in (was, after[-1])


@pytest.mark.parametrize("count", [1, 3, 8])
def test_one_more_group_moves_its_share(count: int) -> None:
    """About 1 in n + 1, of a thousand servers: within four standard deviations."""
    hosts = [f"server{number}.example" for number in range(1000)]
    before, after = group_names(count), group_names(count + 1)
    moved = sum(group_of(host, before) != group_of(host, after) for host in hosts)
    share = 1 / (count + 1)
    assert abs(moved - 1000 * share) < 4 * (1000 * share * (1 - share)) ** 0.5


def test_groups_are_of_about_the_same_size() -> None:
    """A thousand servers over ten groups."""
    sizes = [
        len(those)
        for those in spread(servers(*(f"s{n}.example" for n in range(1000))), 10).values()
    ]
    assert min(sizes) > 60
    assert max(sizes) < 140


def test_a_server_s_group_is_the_same_on_every_machine() -> None:
    """Not Python's own hash, which differs in every process."""
    assert group_of("https://mastodon.social", group_names(4)) == "group-4"


def test_a_first_assignment_is_given_at_once() -> None:
    """Nobody follows anything yet."""
    after = hand_over({"one": servers("a", "b")}, {"one": Assignment()}, {}, NOW)
    assert after["one"] == Assignment(servers("a", "b"), version=1, changed_at=NOW)


def test_an_unchanged_list_keeps_its_version() -> None:
    """So the run has nothing to apply."""
    before = {"one": Assignment(servers("a"), version=7, changed_at=5.0)}
    assert hand_over({"one": servers("a")}, before, {"one": 7}, NOW) == before


def test_a_server_is_withheld_until_its_former_group_has_let_go() -> None:
    """Never twice at once: the new group gets it a step after the old one's acknowledgement."""
    before = {"one": Assignment(servers("a", "b"), version=1), "two": Assignment()}
    wanted = {"one": servers("a"), "two": servers("b")}
    step = hand_over(wanted, before, {"one": 1}, NOW)
    assert urls(step["one"]) == {"https://a"}
    assert step["one"].releasing == ("https://b",)
    assert not step["two"].servers
    # Its run is slow: it still says that it follows the former list.
    assert not hand_over(wanted, step, {"one": 1}, NOW)["two"].servers
    done = hand_over(wanted, step, {"one": 2}, NOW)
    assert urls(done["two"]) == {"https://b"}
    assert done["one"].releasing == ()


def test_a_group_without_a_live_run_holds_nothing() -> None:
    """Its run ended, or was marked failed: what it followed may go on elsewhere at once."""
    before = {"one": Assignment(servers("a", "b"), version=1), "two": Assignment()}
    after = hand_over({"one": servers("a"), "two": servers("b")}, before, {}, NOW)
    assert urls(after["two"]) == {"https://b"}


def test_a_run_that_has_not_spoken_yet_holds_all_it_may_follow() -> None:
    """It may have read the list before it was changed."""
    before = {"one": Assignment(servers("a"), 2, releasing=("https://b",)), "two": Assignment()}
    wanted = {"one": servers("a"), "two": servers("b")}
    assert not hand_over(wanted, before, {"one": None}, NOW)["two"].servers


def test_a_group_that_is_not_wanted_any_more_gives_all_up() -> None:
    """Lowering the number of groups."""
    before = {"one": Assignment(), "two": Assignment(servers("b"), 3)}
    step = hand_over({"one": servers("b")}, before, {"two": 3}, NOW)
    assert step["two"].servers == ()
    assert step["one"].servers == ()
    # Its run has ended, since it has no servers.
    assert urls(hand_over({"one": servers("b")}, step, {}, NOW)["one"]) == {"https://b"}


def test_another_token_is_a_change_but_nobody_lets_go() -> None:
    """The same server in the same group."""
    before = {"one": Assignment(servers("a"), 1)}
    other = (Server("https://a", token_env="OTHER"),)
    after = hand_over({"one": other}, before, {"one": 1}, NOW)["one"]
    assert after.version == 2
    assert after.releasing == ()


class Run:
    """A group's run as it could be: it applies its list late, dies and comes back."""

    def __init__(self) -> None:
        self.alive = False
        self.follows: set[str] = set()
        self.version: int | None = None


@given(st.data())
def test_no_two_runs_ever_follow_one_server(data: st.DataObject) -> None:
    """Whatever is configured, in whatever order runs apply, say so, die and start."""
    hosts = ["a", "b", "c", "d", "e"]
    groups = group_names(3)
    runs: Mapping[str, Run] = {group: Run() for group in groups}
    said: dict[str, int | None] = {}
    assignments = dict.fromkeys(groups, Assignment())
    for _ in range(data.draw(st.integers(1, 40))):
        group = data.draw(st.sampled_from(groups))
        run = runs[group]
        match data.draw(st.sampled_from(["tick", "tick", "apply", "apply", "say", "end", "start"])):
            case "tick":
                chosen = data.draw(st.lists(st.sampled_from(hosts), unique=True))
                wanted = spread(servers(*chosen), data.draw(st.integers(1, 3)))
                live = {name: said.get(name) for name in groups if runs[name].alive}
                assignments = hand_over(wanted, assignments, live, NOW)
            case "apply" if run.alive:
                run.follows, run.version = urls(assignments[group]), assignments[group].version
            case "say" if run.alive:
                said[group] = run.version
            case "end":
                run.alive, run.follows, run.version = False, set(), None
                said.pop(group, None)
            case "start":
                run.alive = True
        followed = [url for each in runs.values() for url in each.follows]
        assert len(followed) == len(set(followed))
