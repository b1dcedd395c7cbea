"""`mastodon-pipeline sql` as a command."""

import subprocess
import sys
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


@pytest.mark.thorough
def test_sql_keeps_duckdb_from_importing_pandas() -> None:
    """It would with the first parameter; afterwards it may, for whoever wants a data frame."""
    script = """
import sys, duckdb
from mastodon_pipeline.lake.without_pandas import without_pandas
with without_pandas():
    assert duckdb.execute("SELECT $1", ["a"]).fetchall() == [("a",)]
assert not {"numpy", "pandas"} & sys.modules.keys()
with without_pandas():
    import pyarrow
    assert pyarrow.array([1]).to_pylist() == [1]  # as live views do
assert duckdb.sql("SELECT 1 AS n").df()["n"].tolist() == [1]
"""
    subprocess.run([sys.executable, "-c", script], check=True)
