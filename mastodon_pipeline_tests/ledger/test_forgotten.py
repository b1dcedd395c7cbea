"""Names that leave the lake are no loss: the ledger counts the same toots as before.

On the real stack. Shows G26.
"""

from datetime import timedelta
from pathlib import Path

import pytest

from mastodon_pipeline.maintenance.forgetting import forget, parse_name
from mastodon_pipeline_tests.ledger.conftest import Books

pytestmark = pytest.mark.integration
LATER = timedelta(minutes=15)


def counted_toots(books: Books) -> int:
    """Count the toots of the source's hour."""
    row = books.lake.connection.execute(
        "SELECT count(DISTINCT uri) FROM read_parquet($1, hive_partitioning := false)",
        [books.lake.layout.toots(books.hour)],
    ).fetchone()
    return int(row[0]) if row else 0


@pytest.mark.parametrize("whose", ["a person's", "a server's"])
def test_forgotten_names_are_no_loss(
    books: Books, whose: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither at once nor after more of that server's toots have come."""
    monkeypatch.setenv("MASTODON_PIPELINE_DATA", str(tmp_path))  # this machine's list
    [uri, *_] = books.receive_all(20)
    assert books.losses(LATER) == []
    person = f"@user{uri.rpartition('/')[2]}@{books.domain}"
    report = forget(books.settings, parse_name(person if whose == "a person's" else books.domain))
    assert (report.toots > 0, report.left) == (True, [])
    assert books.losses(LATER) == []
    books.receive_all(5)
    assert books.losses(LATER) == []
    assert counted_toots(books) == 25
