"""Which listener group follows which server, and how a server changes hands.

Spreading is by rendezvous (highest random weight) hashing of the server's base URL: each server
goes to the group with the highest hash of the two together. So a server's group depends on nothing
but its own name and the groups' names: adding or removing a server moves no other, and going from
n to n + 1 groups moves about 1 in n + 1, all of them to the new group.
See: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998.

Changing hands: no two runs follow a server at once. A group gets a server only when no live run of
another group may still follow it: the group that gives it up must first have said, in its run's
heartbeat, that it follows its new list. Until then nobody new follows it. What it publishes in
those 10 to 30 seconds is read from its timeline, since the new group goes on from the position
that the old one kept. A hung run that was marked as failed counts as gone; should its process wake
up it stops itself within seconds, and what it wrote in them are duplicates, which the tables
remove by `uri`. One hole is left: a run that a person launches in the very milliseconds in which a
tick moves its group's servers may follow the old list until it looks again, 5 s later.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mastodon_pipeline.settings import Server


def group_names(count: int) -> tuple[str, ...]:
    """The names of so many listener groups, as the runs' tags have them."""
    return tuple(f"group-{number}" for number in range(1, count + 1))


ALL_GROUPS = group_names(16)
"""As many as the setting LISTENER_GROUPS allows."""


def group_of(base_url: str, groups: Sequence[str]) -> str:
    """The group that follows this server."""
    return max(groups, key=lambda group: _weight(base_url, group))


def spread(servers: Sequence[Server], count: int) -> dict[str, tuple[Server, ...]]:
    """Every group's servers, in the order given; a group may have none."""
    groups = group_names(count)
    found: dict[str, list[Server]] = {group: [] for group in groups}
    for server in servers:
        found[group_of(server.base_url, groups)].append(server)
    return {group: tuple(those) for group, those in found.items()}


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a group is to follow; kept in Dagster's storage, read by the group's run."""

    servers: tuple[Server, ...] = ()
    version: int = 0
    """Counts the changes of `servers`; a run's heartbeat tells which one it follows."""
    releasing: tuple[str, ...] = ()
    """Base URLs that the group gave up and its run may still follow."""
    changed_at: float = 0.0
    """When `servers` changed last; seconds since 1970, UTC."""


def hand_over(
    wanted: Mapping[str, Sequence[Server]],
    before: Mapping[str, Assignment],
    following: Mapping[str, int | None],
    now: float,
) -> dict[str, Assignment]:
    """Every group's next assignment, a safe step nearer to what is wanted.

    `before`: the last step's. `following`: for each group with a live run, the version of the
    assignment that the run says it follows, or None where it has not said yet. Groups that are
    in `before` and not wanted any more get an empty assignment, at which their runs end well.
    """
    held = {group: _held(before[group], group, following) for group in before}
    return {
        group: _next(
            before.get(group, Assignment()),
            tuple(wanted.get(group, ())),
            mine=held.get(group, frozenset()),
            others=frozenset[str]().union(*(urls for name, urls in held.items() if name != group)),
            now=now,
        )
        for group in (*wanted, *(group for group in before if group not in wanted))
    }


def _held(
    assignment: Assignment, group: str, following: Mapping[str, int | None]
) -> frozenset[str]:
    """The servers that the group's live run follows, or may follow."""
    if group not in following:
        return frozenset()
    urls = frozenset(server.base_url for server in assignment.servers)
    caught_up = following[group] == assignment.version
    return urls if caught_up else urls.union(assignment.releasing)


def _next(
    before: Assignment,
    wanted: tuple[Server, ...],
    mine: frozenset[str],
    others: frozenset[str],
    now: float,
) -> Assignment:
    servers = tuple(server for server in wanted if server.base_url not in others)
    releasing = tuple(sorted(mine.difference(server.base_url for server in servers)))
    if servers == before.servers:
        return Assignment(servers, before.version, releasing, before.changed_at)
    return Assignment(servers, before.version + 1, releasing, now)


def _weight(base_url: str, group: str) -> bytes:
    return hashlib.blake2b(f"{group} {base_url}".encode(), digest_size=8).digest()
