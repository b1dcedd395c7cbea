"""`mastodon-pipeline sql` as a command."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from mastodon_pipeline.cli.main import cli


def test_sql_without_an_object_store_says_how_to_start_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One line with the address and what to do."""
    monkeypatch.setenv("MASTODON_PIPELINE_DATA", str(tmp_path))
    monkeypatch.setenv("S3_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "word")
    result = CliRunner().invoke(cli, ["sql", "SELECT 1"])
    assert result.exit_code == 1
    assert result.output == (
        "mastodon-pipeline: the object store at http://127.0.0.1:9 does not answer: start it with"
        " `make up`, or set S3_ENDPOINT\n"
    )


def test_sql_help_teaches_by_examples() -> None:
    """Each example stands on lines of its own, ready to be copied."""
    output = CliRunner().invoke(cli, ["sql", "--help"]).output
    assert '  mastodon-pipeline sql "SHOW TABLES"\n' in output
    assert "Ctrl-D" in output
