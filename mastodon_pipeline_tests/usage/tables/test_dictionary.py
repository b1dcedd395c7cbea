"""`docs/data-dictionary.md` is written from the schema and the declarations."""

import sys
from pathlib import Path

import pytest

from mastodon_pipeline.schemas import record_fields
from mastodon_pipeline.usage.tables import dictionary
from mastodon_pipeline.usage.tables.catalog import TABLES


def test_dictionary_describes_every_field_and_column() -> None:
    lines = dictionary.dictionary().splitlines()
    for field in record_fields():
        assert any(line.startswith(f"| `{field.name}` |") for line in lines)
    for table in TABLES:
        section = lines[lines.index(f"## {table.name}") :]
        for column in table.columns:
            row = next(line for line in section if line.startswith(f"| `{column.name}` |"))
            assert row.endswith(f"{column.description} |")


def test_check_fails_if_the_dictionary_is_out_of_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dictionary, "PATH", tmp_path / "data-dictionary.md")
    monkeypatch.setattr(dictionary, "REPOSITORY", tmp_path)
    monkeypatch.setattr(sys, "argv", ["dictionary"])
    dictionary.main()
    monkeypatch.setattr(sys, "argv", ["dictionary", "--check"])
    dictionary.main()
    dictionary.PATH.write_text("outdated")
    with pytest.raises(SystemExit, match="out of date: run `make docs`"):
        dictionary.main()
