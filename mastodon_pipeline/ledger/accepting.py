"""A person accepts losses: they stay in the ledger, and no longer turn a light red.

The same loss has two lights: this ledger counts it by server and hour, `landed_toots_complete` by
offset. One acceptance is for both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mastodon_pipeline.errors import LedgerError
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.landing.accepted_offsets import (
    AcceptedOffsets,
    accept_offsets,
    load_accepted_offsets,
)
from mastodon_pipeline.landing.completeness import landing_completeness
from mastodon_pipeline.ledger.state import Acceptance, Loss, State, load_state, save_state
from mastodon_pipeline.settings import Settings

OFFSETS = "offsets"
"""The name of what `landed_toots_complete` misses."""


@dataclass(frozen=True, slots=True)
class LostOffsets:
    """What `landed_toots_complete` misses now, and what a person has accepted of it."""

    records: int
    accepted: AcceptedOffsets


def open_losses(lake: Lake) -> tuple[list[Loss], dict[str, Acceptance]]:
    """Return all known losses, the newest first, and what was accepted of them, by name."""
    state = load_state(lake).state
    losses = sorted(state.losses.values(), key=lambda loss: (loss.hour, loss.name), reverse=True)
    return losses, state.accepted


def lost_offsets(settings: Settings, lake: Lake) -> LostOffsets:
    """Compare the topic's offsets with what landed. Raises as `landing_completeness` does."""
    records = landing_completeness(settings, lake).offsets_lost
    return LostOffsets(records, load_accepted_offsets(lake))


def accept(lake: Lake, names: Sequence[str], who: str, why: str) -> list[Loss]:
    """Accept the losses of these names, as they are now; return them.

    If more is missing later, that is a new loss. Raises LedgerError if there is no such loss.
    """
    while True:
        stored = load_state(lake)
        state = stored.state
        unknown = [name for name in names if name not in state.losses]
        if unknown:
            raise LedgerError(
                f"the ledger has no loss {unknown[0]!r}: see `mastodon-pipeline ledger`"
            )
        losses = [state.losses[name] for name in names]
        at = int(datetime.now(UTC).timestamp() * 1000)
        for loss in losses:
            state.accepted[loss.name] = Acceptance(loss.records, who, why, at)
        if save_state(lake, stored, state):
            return losses


def accept_with_offsets(
    settings: Settings, lake: Lake, names: Sequence[str], who: str, why: str
) -> Iterator[tuple[str, int]]:
    """Accept losses, and the offsets if they are named, or if no other loss is left that they are.

    Gives each name, and how many records. Raises LedgerError if there is no such loss, and as
    `landing_completeness` does.
    """
    of_ledger = [name for name in names if name != OFFSETS]
    if of_ledger:
        yield from ((loss.name, loss.records) for loss in accept(lake, of_ledger, who, why))
    state = load_state(lake).state
    if OFFSETS in names or not any(_is_open(state, loss) for loss in state.losses.values()):
        lost = lost_offsets(settings, lake)
        if lost.records > lost.accepted.records:
            accept_offsets(lake, lost.records, who, why)
            yield OFFSETS, lost.records


def _is_open(state: State, loss: Loss) -> bool:
    """Return whether a loss between Kafka and the lake is not accepted."""
    accepted = state.accepted.get(loss.name)
    return loss.stage == "landed" and loss.records > (accepted.records if accepted else 0)
