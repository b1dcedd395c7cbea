"""What tests of the checks share: tables without a fault."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline_tests.support.building import build_day, build_hours
from mastodon_pipeline_tests.support.local_lake import DAY, HOUR, delete, in_order, land, record
from mastodon_pipeline_tests.support.prepared_lake import PreparedLake


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedLake:
    return PreparedLake(tmp_path_factory.mktemp("built"), build)


@pytest.fixture
def built(prepared: PreparedLake) -> Iterator[Lake]:
    """An hour with copies, an edit, a delete and two servers, and all its tables."""
    with prepared.copy() as lake:
        yield lake


def build(lake: Lake) -> None:
    """Land the records, and build the tables."""
    two = {"base_url": "https://two.example", "status_id": "9", "acct": "ada@one.example"}
    land(
        lake,
        *in_order(
            record(),
            record(),
            record(**two, edited_at=HOUR + timedelta(minutes=1)),
            record(uri="b", status_id="2", server="two.example", reply=True, language_primary=""),
            delete(uri="b", status_id="2"),
            record(uri="c", status_id="3", server="two.example", username="robot", bot=True),
        ),
    )
    build_hours(lake, HOUR)
    build_day(lake, DAY)
