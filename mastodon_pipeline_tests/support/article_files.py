"""Parquet files with the columns of the article's listener."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from mastodon_pipeline.listening.topic.replay import ARTICLE_COLUMNS

POSTED = datetime(2023, 2, 3, 10, 11, 12, tzinfo=UTC)
_ARTICLE_TYPES = {
    **dict.fromkeys(("m_id", "created_at"), "BIGINT"),
    **dict.fromkeys(("favourites", "tags", "characters", "words"), "INTEGER"),
    "bot": "BOOLEAN",
}


def article_row(**fields: Any) -> dict[str, Any]:
    """Return a row as the article's listener wrote it, but for these fields."""
    row: dict[str, Any] = {
        "m_id": 109_800_000_000_000_001,
        "created_at": int(POSTED.timestamp()),
        "created_at_str": "2023 02 03 10:11:12",
        "app": "Web",
        "url": "https://one.example/@ada/109800000000000001",
        "base_url": "https://one.example",
        "language": "en",
        "favourites": 0,
        "username": "ada",
        "bot": False,
        "tags": 1,
        "characters": 5,
        "words": 1,
        "mastodon_text": "hello",
    }
    assert fields.keys() <= row.keys() == ARTICLE_COLUMNS
    return row | fields


def write_article(path: Path, *article_rows: dict[str, Any], without: Sequence[str] = ()) -> str:
    """Write a file of these rows, less some columns, and return its path."""
    names = [name for name in article_row() if name not in without]
    with duckdb.connect(":memory:") as connection:
        columns = ", ".join(f"{name} {_ARTICLE_TYPES.get(name, 'VARCHAR')}" for name in names)
        connection.execute(f"CREATE TABLE article ({columns})")
        for row in article_rows:
            marks = ", ".join("?" for _ in names)
            connection.execute(f"INSERT INTO article VALUES ({marks})", [row[n] for n in names])
        connection.table("article").write_parquet(str(path))
    return str(path)
