"""The notebook shows the tables' figures, run as a reader would, on a lake in a real bucket."""

from datetime import timedelta
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.paths import REPOSITORY
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.building import build_day, build_hours
from mastodon_pipeline_tests.support.local_lake import DAY, HOUR, land, record

NOTEBOOK = REPOSITORY / "notebooks" / "mastodon_usage.ipynb"
FIGURES = 6


def outputs(notebook: NotebookNode, kind: str) -> list[str]:
    """The outputs of its cells of this kind, in their order."""
    return [
        output["data"][kind]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if kind in output.get("data", {})
    ]


def test_notebook_is_stored_without_outputs() -> None:
    """They would be one reader's, with that reader's paths."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert [cell for cell in code if cell.outputs or cell.execution_count] == []


def test_notebook_runs_and_shows_the_tables_figures(
    bucket: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every cell; the article's query and our table give the same counts for each day."""
    with open_lake(bucket) as lake:
        land(
            lake,
            record(app="Tusky", characters=40),
            record(uri="b", status_id="2", username="robot", bot=True, language_primary=""),
            record(uri="c", status_id="3", server="two.example", created_at=HOUR - timedelta(1)),
        )
        for hour in (HOUR - timedelta(1), HOUR):
            build_hours(lake, hour)
            build_day(lake, hour.date())
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # streamlit sets it, and no figure is shown
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": tmp_path}}).execute()
    assert len(outputs(notebook, "image/png")) == FIGURES
    tables, ours, articles, *_ = outputs(notebook, "text/plain")
    assert "mastodon_toot" in tables
    assert f"{DAY}" in ours
    assert "robot@one.example" in ours
    days = [line.split("│") for line in articles.splitlines() if "2026/11/2" in line]
    assert [[cell.strip() for cell in day[1:4]] for day in days] == [
        ["2026/11/23 Mon", "1", "1"],
        ["2026/11/24 Tue", "2", "2"],
    ]
