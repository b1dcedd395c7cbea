"""A person accepts losses: they stay in the ledger, and no longer turn its light red."""

from collections.abc import Sequence
from datetime import UTC, datetime

from mastodon_pipeline.errors import LedgerError
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.ledger.state import Acceptance, Loss, load_state, save_state


def open_losses(lake: Lake) -> tuple[list[Loss], dict[str, Acceptance]]:
    """Return all known losses, the newest first, and what was accepted of them, by name."""
    state = load_state(lake).state
    losses = sorted(state.losses.values(), key=lambda loss: (loss.hour, loss.name), reverse=True)
    return losses, state.accepted


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
