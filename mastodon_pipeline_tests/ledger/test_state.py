"""The ledger's memory: two checks at once, a person meanwhile, a damaged object."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from mastodon_pipeline.cli.ledger import ledger
from mastodon_pipeline.errors import LedgerError
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.ledger.accepting import accept, open_losses
from mastodon_pipeline.ledger.state import Loss, State, load_state, save_state

LOSS = Loss("landed", "https://a.example", 1_795_600_800_000, 5, "passed over", 1_795_604_400_000)


def with_loss(lake: Lake) -> None:
    stored = load_state(lake)
    assert save_state(lake, stored, State(losses={LOSS.name: LOSS}, due_ends={0: 7}))


def test_memory_is_read_as_it_was_saved(lake: Lake) -> None:
    assert load_state(lake).state == State()
    with_loss(lake)
    assert load_state(lake).state == State(losses={LOSS.name: LOSS}, due_ends={0: 7})


def test_memory_that_changed_meanwhile_is_not_replaced(lake: Lake) -> None:
    """A check that began before a person accepted a loss would forget that."""
    with_loss(lake)
    before = load_state(lake)
    accept(lake, [LOSS.name], "Ann", "the disk died")
    assert not save_state(lake, before, before.state)
    losses, accepted = open_losses(lake)
    assert losses == [LOSS]
    acceptance = accepted[LOSS.name]
    assert (acceptance.records, acceptance.who, acceptance.why) == (5, "Ann", "the disk died")


def test_loss_that_is_not_there_cannot_be_accepted(lake: Lake) -> None:
    with pytest.raises(LedgerError, match=r"has no loss 'landed/b\.example/2026-11-26-10'"):
        accept(lake, ["landed/b.example/2026-11-26-10"], "Ann", "")


def test_damaged_memory_is_one_line_that_says_how_to_go_on(lake: Lake) -> None:
    path = Path(lake.layout.ledger_state())
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not compressed")
    with pytest.raises(LedgerError, match="is damaged"):
        load_state(lake)


def test_accepting_asks_who_and_why() -> None:
    result = CliRunner().invoke(ledger, ["accept", LOSS.name])
    assert result.exit_code == 2
    assert "--who" in result.output
