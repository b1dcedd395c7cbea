"""Which fault happens when: random, and the same for the same seed."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

SHORTEST_GAP_SECONDS = 6.0
"""Between the beginnings of two faults, on average. Most last longer, so they overlap."""


@dataclass(frozen=True, slots=True)
class Appointment:
    """A fault, and when it begins and ends: seconds since the chaos began."""

    fault: str
    begins: float
    ends: float


def schedule(
    seed: int, seconds: float, durations: Mapping[str, tuple[float, float]]
) -> list[Appointment]:
    """Return the faults of so many seconds, in order.

    `durations` has each fault's shortest and longest duration. Where there is time for all, each
    happens once, and then again in another order; where there is not, some of them do.
    """
    rng = random.Random(seed)
    names = sorted(durations)
    gap = max(SHORTEST_GAP_SECONDS, seconds / len(names))
    appointments: list[Appointment] = []
    at, waiting = rng.uniform(0, gap), list[str]()
    while True:
        if not waiting:
            waiting = rng.sample(names, len(names))
        name = waiting.pop()
        shortest, longest = durations[name]
        ends = at + rng.uniform(shortest, longest)
        if at >= seconds:
            return appointments
        appointments.append(Appointment(name, round(at, 1), round(min(ends, seconds), 1)))
        at += rng.uniform(0.4, 1.6) * gap


def in_order(appointments: Sequence[Appointment], first: str, then: str) -> list[Appointment]:
    """Return the appointments with every `first` before every `then`, both without a duration."""
    both = [appointment.fault for appointment in appointments if appointment.fault in (first, then)]
    names = iter(sorted(both, key=lambda name: name != first))
    return [
        replace(appointment, fault=next(names))
        if appointment.fault in (first, then)
        else appointment
        for appointment in appointments
    ]
