"""The Iceberg table is migrated, and its control offsets put right, by commits of their own."""

from pathlib import Path

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import HourTransform
from pyiceberg.types import IntegerType, LongType, NestedField, TimestamptzType

from mastodon_pipeline.landing import table_repairs
from mastodon_pipeline.landing.iceberg import offsets_property
from mastodon_pipeline.settings import Settings, load_settings

OF_OLD = Schema(
    NestedField(1, "created_at", TimestamptzType()),
    NestedField(2, "_offset", LongType()),
    NestedField(3, "_partition", IntegerType()),
    NestedField(4, "_ts", TimestamptzType()),
)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Table:
    """A table as the sink created it before 2026-11-26, in a catalog of this test."""
    catalog = SqlCatalog("lake", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=str(tmp_path))
    catalog.create_namespace("mastodon")
    spec = PartitionSpec(PartitionField(1, 1000, HourTransform(), "created_at_hour"))
    catalog.create_table("mastodon.toots_raw", OF_OLD, partition_spec=spec)

    def open_table(_: Settings) -> Table:
        return catalog.load_table("mastodon.toots_raw")

    monkeypatch.setattr("mastodon_pipeline.landing.iceberg.open_table", open_table)
    monkeypatch.setattr("mastodon_pipeline.landing.table_repairs.open_table", open_table)
    return open_table(load_settings())


def test_old_table_gets_todays_partitions_names_and_properties_once(table: Table) -> None:
    settings = load_settings()
    assert table_repairs.needs_migration(settings)
    assert table_repairs.migrate_table(settings) == (
        "_partition is kafka_partition",
        "_offset is kafka_offset",
        "_ts is kafka_timestamp",
        "partitions are days of arrival",
        "a writer holds less memory",
    )
    table.refresh()
    assert [field.name for field in table.spec().fields] == ["kafka_timestamp_day"]
    names = [field.name for field in table.schema().fields]
    assert names == ["created_at", "kafka_offset", "kafka_partition", "kafka_timestamp"]
    assert table.schema().find_field("kafka_offset").field_id == 2
    assert not table_repairs.needs_migration(settings)
    assert table_repairs.migrate_table(settings) == ()


def test_table_that_has_both_names_keeps_both(table: Table) -> None:
    """The new sink came first and added its columns, since the catalog could not be reached."""
    with table.update_schema() as schema:
        schema.add_column("kafka_offset", LongType())
        schema.add_column("kafka_partition", IntegerType())
        schema.add_column("kafka_timestamp", TimestamptzType())
    assert table_repairs.migrate_table(load_settings()) == (
        "partitions are days of arrival",
        "a writer holds less memory",
    )
    table.refresh()
    [field] = table.spec().fields
    assert table.schema().find_column_name(field.source_id) == "kafka_timestamp"
    assert not table_repairs.needs_migration(load_settings())


def test_control_offsets_are_put_right_without_a_change_of_files(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only if the control topic ends before them. Shows G11."""
    settings = load_settings()
    name = offsets_property(settings)
    with (
        table.transaction() as transaction,
        transaction.update_snapshot(snapshot_properties={name: '{"0":700}'}).fast_append(),
    ):
        pass
    held = {0: range(800)}
    monkeypatch.setattr(table_repairs, "partitions", lambda *_: tuple(held))
    monkeypatch.setattr(table_repairs, "offsets", lambda *_: held)
    assert table_repairs.repair_control_offsets(settings) is None
    for end in (5, 0):
        held[0] = range(end)
        repaired = table_repairs.repair_control_offsets(settings)
        assert repaired
        assert "committed up to offset 700" in repaired
        assert table_repairs.repair_control_offsets(settings) is None
        table.refresh()
        snapshot = table.current_snapshot()
        assert snapshot is not None
        assert snapshot.summary is not None
        assert snapshot.summary.additional_properties[name] == '{"0": 0}'
        with (
            table.transaction() as transaction,
            transaction.update_snapshot(snapshot_properties={name: '{"0":700}'}).fast_append(),
        ):
            pass
