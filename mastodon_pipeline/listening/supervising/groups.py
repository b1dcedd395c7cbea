"""Spread servers over listener groups, and hand a server over from one group to another.

Spreading is by rendezvous (highest random weight) hashing of the server's base URL: each server
goes to the group with the highest hash of the two together. So a server's group depends only on its
own base URL and the groups' names: adding or removing a server moves no other, and going from n to
n + 1 groups moves about 1 in n + 1 servers, all of them to the new group.
See: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998.

Handing over: no two runs may follow a server at once. A group gets a server only when no live run
of another group may still follow it: the run that gives it up must first have acknowledged, in its
heartbeat, the assignment without that server. Until then nobody else follows it. What the server
publishes in those 10 to 30 seconds is read from its timeline, because the new group starts from the
position that the former one saved. A hung run that was marked as failed counts as gone; if its
process wakes up it stops itself within seconds, and what it wrote in them are duplicates, which the
tables remove by `uri`. One window is left: a run that a person launches in the very milliseconds in
which a tick moves its group's servers may follow the former assignment until it reads it again, 5 s
later.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mastodon_pipeline.servers import Server


def group_names(count: int) -> tuple[str, ...]:
    """Return the names of `count` listener groups, as the runs' tags have them."""
    return tuple(f"group-{number}" for number in range(1, count + 1))


ALL_GROUPS = group_names(16)
"""As many as the setting LISTENER_GROUPS allows."""


def group_of(base_url: str, groups: Sequence[str]) -> str:
    """Return the group that follows this server."""
    return max(groups, key=lambda group: _weight(base_url, group))


def spread(servers: Sequence[Server], count: int) -> dict[str, tuple[Server, ...]]:
    """Return the servers of each of `count` groups, in the order given; a group may have none."""
    groups = group_names(count)
    group_by_server = {server: group_of(server.base_url, groups) for server in servers}
    return {
        group: tuple(server for server in servers if group_by_server[server] == group)
        for group in groups
    }


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a group is to follow: saved in Dagster's storage, read by the group's run."""

    servers: tuple[Server, ...] = ()
    version: int = 0
    """Counts the changes of `servers`; a run's heartbeat has the version that it follows."""
    releasing: tuple[str, ...] = ()
    """Base URLs of servers that the group gave up and its run may still follow."""
    changed_at: float = 0.0
    """When `servers` changed last; seconds since 1970, UTC."""


def hand_over(
    wanted: Mapping[str, Sequence[Server]],
    before: Mapping[str, Assignment],
    acknowledged: Mapping[str, int | None],
    now: float,
) -> dict[str, Assignment]:
    """Return every group's next assignment: one safe step from `before` towards `wanted`.

    `acknowledged`: for each group with a live run, the version of the assignment that the run
    follows according to its heartbeat, or None if it has not reported one yet. Groups that are in
    `before` but not wanted any more get an empty assignment, which ends their runs.
    """
    held = {group: _held(before[group], group, acknowledged) for group in before}
    return {
        group: _next_assignment(
            before.get(group, Assignment()),
            tuple(wanted.get(group, ())),
            held_here=held.get(group, frozenset()),
            held_elsewhere=frozenset[str]().union(
                *(urls for other, urls in held.items() if other != group)
            ),
            now=now,
        )
        for group in (*wanted, *(group for group in before if group not in wanted))
    }


def _held(
    assignment: Assignment, group: str, acknowledged: Mapping[str, int | None]
) -> frozenset[str]:
    """Return the base URLs that the group's live run follows, or may follow."""
    if group not in acknowledged:
        return frozenset()
    urls = frozenset(server.base_url for server in assignment.servers)
    caught_up = acknowledged[group] == assignment.version
    return urls if caught_up else urls.union(assignment.releasing)


def _next_assignment(
    before: Assignment,
    wanted: tuple[Server, ...],
    held_here: frozenset[str],
    held_elsewhere: frozenset[str],
    now: float,
) -> Assignment:
    servers = tuple(server for server in wanted if server.base_url not in held_elsewhere)
    releasing = tuple(sorted(held_here.difference(server.base_url for server in servers)))
    if servers == before.servers:
        return Assignment(servers, before.version, releasing, before.changed_at)
    return Assignment(servers, before.version + 1, releasing, now)


def _weight(base_url: str, group: str) -> bytes:
    return hashlib.blake2b(f"{group} {base_url}".encode(), digest_size=8).digest()
