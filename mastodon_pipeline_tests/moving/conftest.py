"""A PostgreSQL server, and databases in it."""

from collections.abc import Iterator

import pytest

from mastodon_pipeline_tests.support.postgres import PostgresServer, postgres_server


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def database(server: PostgresServer) -> str:
    """The address of a new database."""
    return server.new_database()
