"""Changes of the sink's Iceberg table that the sink itself cannot make.

A table of an older version is migrated, and one that follows a control topic which was made again
is put right. Both are commits like any other (see `iceberg.commit`).
"""

import json
from typing import TYPE_CHECKING

from mastodon_pipeline.kafka import offsets, open_consumer, partitions
from mastodon_pipeline.landing.connector_config import CONTROL_TOPIC
from mastodon_pipeline.landing.iceberg import commit, offsets_property, open_table, sink_chain
from mastodon_pipeline.settings import Settings

if TYPE_CHECKING:
    from pyiceberg.table import Table


_CONTROL_SECONDS = 10.0
_POST_HOUR = "created_at_hour"
"""The partition of tables from before 2026-11-26: as many writers in one commit as strangers claim
post hours."""
_PAGE_SIZE, _PAGE_BYTES = "write.parquet.page-size-bytes", "131072"
"""A writer allocates buffers of a whole page when it is opened: measured 2.7 MB of heap with the
default page of 1 MB, 0.8 MB with this one. A commit of 10 s seldom fills either."""
_RENAMED = {"_partition": "kafka_partition", "_offset": "kafka_offset", "_ts": "kafka_timestamp"}
"""The coordinates' columns in such tables. Iceberg reserves the first name; Spark refuses it."""


def needs_migration(settings: Settings) -> bool:
    """Return whether there is a table from before 2026-11-26, see `migrate_table`.

    Raises CatalogUnavailable as `open_table` does.
    """
    table = open_table(settings)
    return table is not None and bool(_changes(table))


def migrate_table(settings: Settings) -> tuple[str, ...]:
    """Bring a table from before 2026-11-26 to today's partitions and names; return what changed.

    Its files stay: Iceberg finds columns by their ids, and knows the partitions of each file.
    The sink must not be running, since it would bring the old names back.

    Raises CatalogUnavailable as `open_table` does, or if the sink commits every time.
    """
    table = open_table(settings)
    if table is None or not (changes := _changes(table)):
        return ()
    commit(settings, _migrate)
    return changes


def _changes(table: "Table") -> tuple[str, ...]:
    names = {field.name for field in table.schema().fields}
    renamed = tuple(
        f"{old} is {new}" for old, new in _RENAMED.items() if old in names and new not in names
    )
    by_hour = any(field.name == _POST_HOUR for field in table.spec().fields)
    pages = _PAGE_SIZE in table.properties
    return (
        *renamed,
        *(["partitions are days of arrival"] if by_hour else []),
        *([] if pages else ["a writer holds less memory"]),
    )


def _migrate(table: "Table") -> None:
    from pyiceberg.transforms import DayTransform

    names = {field.name for field in table.schema().fields}
    partitions = {field.name for field in table.spec().fields}
    timestamp = next(name for name in ("kafka_timestamp", "_ts") if name in names)
    with table.transaction() as transaction:
        transaction.set_properties({_PAGE_SIZE: _PAGE_BYTES})
        if _POST_HOUR in partitions:
            with transaction.update_spec() as spec:
                spec.remove_field(_POST_HOUR)
                spec.add_field(timestamp, DayTransform(), "kafka_timestamp_day")
        with transaction.update_schema() as schema:
            for old, new in _RENAMED.items():
                if old in names and new not in names:
                    schema.rename_column(old, new)


def repair_control_offsets(settings: Settings) -> str | None:
    """Let the sink heed its control topic again, if that was made again; return what was done.

    A snapshot of the sink's says up to which offset of the control topic its announcements are
    committed. In a control topic that starts over, after a loss of Kafka's data or by hand, the
    sink ignores all announcements until that offset is passed: records land, and the table does
    not name their files. A snapshot that says offset 0, without a change of files, puts it right,
    and the running sink reads it before its next commit.

    Raises CatalogUnavailable as `open_table` does, KafkaUnavailable.
    """
    if (table := open_table(settings)) is None:
        return None
    committed = _control_offsets(settings, table)
    with open_consumer(settings) as consumer:
        exists = partitions(consumer, CONTROL_TOPIC, _CONTROL_SECONDS)
        held = offsets(consumer, CONTROL_TOPIC, _CONTROL_SECONDS) if exists else {}
    ends = {number: held[number].stop if number in held else 0 for number in committed}
    if all(offset <= ends[number] for number, offset in committed.items()):
        return None
    properties = {offsets_property(settings): json.dumps(dict.fromkeys(map(str, committed), 0))}

    def start_over(newest: "Table") -> None:
        with (
            newest.transaction() as transaction,
            transaction.update_snapshot(snapshot_properties=properties).fast_append(),
        ):
            pass

    commit(settings, start_over)
    return (
        f"{settings.iceberg_table} was committed up to offset {max(committed.values())} of"
        f" {CONTROL_TOPIC}, which now ends at {max(ends.values())}: it follows it from its start"
    )


def _control_offsets(settings: Settings, table: "Table") -> dict[int, int]:
    """Return up to where the sink has committed its control topic, by partition."""
    name = offsets_property(settings)
    for snapshot in sink_chain(settings, table):
        text = snapshot.summary.additional_properties.get(name) if snapshot.summary else None
        if text is not None:
            return {int(number): int(offset) for number, offset in json.loads(text).items()}
    return {}
