"""Files of the Iceberg table in place of others: the table goes on, and nothing quotes the old."""

import io
from pathlib import Path

import fastavro
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as parquet  # type: ignore[import-untyped]
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from mastodon_pipeline.landing import iceberg
from mastodon_pipeline.landing.iceberg import (
    expire_all_but_the_newest,
    live_files,
    offsets_property,
    replace_files,
    sink_wrote,
    snapshot_paths,
)
from mastodon_pipeline.settings import Settings

pytestmark = pytest.mark.thorough
SETTINGS = Settings()
SINK = {offsets_property(SETTINGS): '{"0": 7}', "kafka.connect.commit-id": "one"}


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Table:
    """A table of two files that the sink wrote, one of which names somebody."""
    catalog = SqlCatalog("lake", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}")
    catalog.create_namespace("mastodon")
    rows = pa.table({"username": ["planted"], "mastodon_text": ["planted words"]})
    table = catalog.create_table(SETTINGS.iceberg_table, rows.schema)
    table.append(rows, snapshot_properties=SINK)
    others = pa.table({"username": ["bo"], "mastodon_text": ["other words"]})
    table.append(others, snapshot_properties=SINK)
    name = SETTINGS.iceberg_table
    monkeypatch.setattr(iceberg, "open_table", lambda _: catalog.load_table(name))
    return catalog.load_table(name)


def nameless_copy(path: str) -> tuple[str, int]:
    source = Path(path.removeprefix("file://"))
    rows = parquet.read_table(source, partitioning=None)
    for number, field in enumerate(rows.schema):
        rows = rows.set_column(number, field, pa.array([""], field.type))
    target = source.with_name("nameless.parquet")
    parquet.write_table(rows, target)
    return f"file://{target}", target.stat().st_size


def test_replaced_file_is_quoted_by_no_manifest_and_the_sink_keeps_its_position(
    table: Table,
) -> None:
    """Bounds of columns in a manifest would show names and words. Shows P7."""
    planted = next(
        path
        for path in live_files(table)
        if "planted" in str(parquet.read_table(path.removeprefix("file://"), partitioning=None))
    )
    assert any("planted" in quoted for quoted in quotations(table))
    replace_files(SETTINGS, {planted: nameless_copy(planted)})
    after = expire_all_but_the_newest(SETTINGS)
    assert planted not in snapshot_paths(after, after.metadata.snapshots, str)
    assert len(live_files(after)) == 2
    assert sorted(after.scan().to_arrow()["username"].to_pylist()) == ["", "bo"]
    assert not any("planted" in quoted for quoted in quotations(after))
    [newest] = after.metadata.snapshots
    assert sink_wrote(SETTINGS, newest)
    assert newest.summary is not None
    assert newest.summary.additional_properties["kafka.connect.commit-id"] == "one"


def test_table_without_the_files_stays_as_it_is(table: Table) -> None:
    before = live_files(table)
    after = replace_files(SETTINGS, {"file:///none.parquet": ("file:///new.parquet", 1)})
    assert live_files(after) == before


def quotations(table: Table) -> list[str]:
    """Return what the manifests of the table's snapshots hold."""
    paths = snapshot_paths(table, table.metadata.snapshots, str)
    return [
        repr(entry)
        for path in paths
        if path.endswith(".avro")
        for entry in fastavro.reader(io.BytesIO(Path(path.removeprefix("file://")).read_bytes()))
    ]
