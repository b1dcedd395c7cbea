"""Servers are spread over groups, and handed over from one group to another."""

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
from mastodon_pipeline.servers import Server

hosts_lists = st.lists(
    st.from_regex(r"[a-z]{1,8}\.example", fullmatch=True), unique=True, max_size=40
)
NOW = 1_000_000.0


def servers(*hosts: str) -> tuple[Server, ...]:
    return tuple(Server(f"https://{host}") for host in hosts)


def urls(assignment: Assignment) -> set[str]:
    return {server.base_url for server in assignment.servers}


@given(hosts_lists, st.integers(1, 16))
def test_every_server_has_exactly_one_group(hosts: list[str], count: int) -> None:
    """None is left out, and none is in two groups."""
    spread_out = [server for group in spread(servers(*hosts), count).values() for server in group]
    assert sorted(server.base_url for server in spread_out) == sorted(
        server.base_url for server in servers(*hosts)
    )


@pytest.mark.thorough
@given(hosts_lists, st.integers(1, 16), st.randoms())
def test_adding_or_removing_servers_moves_no_other(
    hosts: list[str], count: int, rng: random.Random
) -> None:
    """Whichever are added or removed, and in whatever order they are written. Shows G5."""
    some = [host for host in hosts if rng.random() < 0.5]
    rng.shuffle(some)
    whole, part = spread(servers(*hosts), count), spread(servers(*some), count)
    assert all(set(part[group]) <= set(whole[group]) for group in whole)


@given(hosts_lists, st.integers(1, 15))
def test_servers_move_only_to_an_added_group(hosts: list[str], count: int) -> None:
    """None moves from one of the former groups to another."""
    before, after = group_names(count), group_names(count + 1)
    for server in servers(*hosts):
        former, new = group_of(server.base_url, before), group_of(server.base_url, after)
        assert new in (former, after[-1])


@pytest.mark.parametrize("count", [1, 3, 8])
def test_added_group_gets_its_share_of_the_servers(count: int) -> None:
    """About 1 in n + 1 of a thousand servers: within four standard deviations."""
    hosts = [f"server{number}.example" for number in range(1000)]
    before, after = group_names(count), group_names(count + 1)
    moved = sum(group_of(host, before) != group_of(host, after) for host in hosts)
    share = 1 / (count + 1)
    assert abs(moved - 1000 * share) < 4 * (1000 * share * (1 - share)) ** 0.5


def test_groups_have_about_the_same_size() -> None:
    """A thousand servers over ten groups."""
    thousand = servers(*(f"s{number}.example" for number in range(1000)))
    sizes = [len(group) for group in spread(thousand, 10).values()]
    assert min(sizes) > 60
    assert max(sizes) < 140


def test_group_of_a_server_is_the_same_on_every_machine() -> None:
    """Unlike Python's own hash, which differs in every process."""
    assert group_of("https://mastodon.social", group_names(4)) == "group-4"


def test_first_assignment_is_given_at_once() -> None:
    """No run follows anything yet."""
    after = hand_over({"one": servers("a", "b")}, {"one": Assignment()}, {}, NOW)
    assert after["one"] == Assignment(servers("a", "b"), version=1, changed_at=NOW)


def test_unchanged_assignment_keeps_its_version() -> None:
    """So the run has nothing to apply."""
    before = {"one": Assignment(servers("a"), version=7, changed_at=5.0)}
    assert hand_over({"one": servers("a")}, before, {"one": 7}, NOW) == before


def test_server_is_withheld_until_its_former_group_has_released_it() -> None:
    """The new group gets it a step after the former one's acknowledgement: never two at once."""
    before = {"one": Assignment(servers("a", "b"), version=1), "two": Assignment()}
    wanted = {"one": servers("a"), "two": servers("b")}
    step = hand_over(wanted, before, {"one": 1}, NOW)
    assert urls(step["one"]) == {"https://a"}
    assert step["one"].releasing == ("https://b",)
    assert not step["two"].servers
    # Its run is slow: it has only acknowledged the former assignment.
    assert not hand_over(wanted, step, {"one": 1}, NOW)["two"].servers
    done = hand_over(wanted, step, {"one": 2}, NOW)
    assert urls(done["two"]) == {"https://b"}
    assert done["one"].releasing == ()


def test_group_without_a_live_run_holds_no_servers() -> None:
    """Its run ended or was marked as failed: another group may have its servers at once."""
    before = {"one": Assignment(servers("a", "b"), version=1), "two": Assignment()}
    after = hand_over({"one": servers("a"), "two": servers("b")}, before, {}, NOW)
    assert urls(after["two"]) == {"https://b"}


def test_run_without_acknowledgement_holds_all_that_it_may_follow() -> None:
    """It may have read the assignment before it was changed."""
    before = {"one": Assignment(servers("a"), 2, releasing=("https://b",)), "two": Assignment()}
    wanted = {"one": servers("a"), "two": servers("b")}
    assert not hand_over(wanted, before, {"one": None}, NOW)["two"].servers


def test_group_that_is_not_wanted_any_more_releases_all_servers() -> None:
    """When the number of groups is lowered."""
    before = {"one": Assignment(), "two": Assignment(servers("b"), 3)}
    step = hand_over({"one": servers("b")}, before, {"two": 3}, NOW)
    assert step["two"].servers == ()
    assert step["one"].servers == ()
    # Its run has ended, since it has no servers.
    assert urls(hand_over({"one": servers("b")}, step, {}, NOW)["one"]) == {"https://b"}


def test_another_token_changes_the_assignment_and_releases_nothing() -> None:
    """The same server in the same group."""
    before = {"one": Assignment(servers("a"), 1)}
    other = (Server("https://a", token_env="OTHER"),)
    after = hand_over({"one": other}, before, {"one": 1}, NOW)["one"]
    assert after.version == 2
    assert after.releasing == ()


class Run:
    """A group's run in the model: it applies its assignment late, dies and starts again."""

    def __init__(self) -> None:
        self.alive = False
        self.followed: set[str] = set()
        self.version: int | None = None


@pytest.mark.thorough
@given(st.data())
def test_no_two_runs_ever_follow_the_same_server(data: st.DataObject) -> None:
    """Whatever is configured, in whatever order runs apply, acknowledge, die and start.

    Shows G5.
    """
    hosts = ["a", "b", "c", "d", "e"]
    groups = group_names(3)
    runs: Mapping[str, Run] = {group: Run() for group in groups}
    acknowledged: dict[str, int | None] = {}
    assignments = dict.fromkeys(groups, Assignment())
    for _ in range(data.draw(st.integers(1, 40))):
        group = data.draw(st.sampled_from(groups))
        run = runs[group]
        match data.draw(
            st.sampled_from(["tick", "tick", "apply", "apply", "acknowledge", "end", "start"])
        ):
            case "tick":
                chosen = data.draw(st.lists(st.sampled_from(hosts), unique=True))
                wanted = spread(servers(*chosen), data.draw(st.integers(1, 3)))
                live = {name: acknowledged.get(name) for name in groups if runs[name].alive}
                assignments = hand_over(wanted, assignments, live, NOW)
            case "apply" if run.alive:
                run.followed, run.version = urls(assignments[group]), assignments[group].version
            case "acknowledge" if run.alive:
                acknowledged[group] = run.version
            case "end":
                run.alive, run.followed, run.version = False, set(), None
                acknowledged.pop(group, None)
            case "start":
                run.alive = True
        followed = [url for run in runs.values() for url in run.followed]
        assert len(followed) == len(set(followed))
