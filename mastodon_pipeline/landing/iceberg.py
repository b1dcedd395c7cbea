"""The sink's Iceberg table, for maintenance: opened through the sink's own catalog.

Every change is a commit against the table's current state. The catalog accepts it only if nothing
was committed in between (`UPDATE ... WHERE metadata_location = <the location that was read>`), so
the sink's commits and ours cannot overwrite each other: the later one is refused and retried.

See: https://iceberg.apache.org/spec/ and https://py.iceberg.apache.org/
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from mastodon_pipeline.errors import CatalogUnavailable
from mastodon_pipeline.lake.bucket import s3_credentials
from mastodon_pipeline.landing.catalog import CATALOG, catalog_address
from mastodon_pipeline.landing.connector_config import CONTROL_TOPIC
from mastodon_pipeline.settings import Settings

if TYPE_CHECKING:  # its import takes half a second, which only maintenance should pay
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot


COMMIT_ATTEMPTS = 12


def open_table(settings: Settings) -> "Table | None":
    """Load the sink's table in its current state; None if the sink has not created it yet.

    Raises:
        CatalogUnavailable: the catalog cannot be read.
        SettingsError: as `catalog_address` does.
    """
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.exceptions import NoSuchTableError

    keys = s3_credentials(settings)
    address = catalog_address(settings)
    try:
        catalog = SqlCatalog(
            CATALOG,
            **{
                "uri": address.render_as_string(hide_password=False),
                "init_catalog_tables": "false",
                "s3.endpoint": settings.s3_endpoint,
                "s3.region": settings.aws_region,
                "s3.access-key-id": keys.access_key_id,
                "s3.secret-access-key": keys.secret_access_key,
                "s3.force-virtual-addressing": "false",
                **_private_authority(settings),
                **({"s3.session-token": keys.session_token} if keys.session_token else {}),
            },
        )
        return catalog.load_table(settings.iceberg_table)
    except NoSuchTableError:
        return None
    except (SQLAlchemyError, ImportError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise CatalogUnavailable(
            f"the Iceberg catalog at {address.render_as_string()} cannot be read ({reason}): start"
            " the sink once, or set LAKE_CATALOG_URI to its address as SQLAlchemy writes it"
        ) from None


def _private_authority(settings: Settings) -> dict[str, str]:
    if settings.services_ca_file is None:
        return {}
    from mastodon_pipeline.landing.iceberg_io import AUTHORITIES, IMPLEMENTATION

    return {"py-io-impl": IMPLEMENTATION, AUTHORITIES: str(settings.services_ca_file)}


def commit(settings: Settings, change: Callable[["Table"], object]) -> "Table":
    """Commit a change of the table, and retry it if the sink commits first.

    `change` gets the current table, and must commit. It is called again with a newer table if the
    commit is refused, so it must not rely on an earlier state.

    Raises CatalogUnavailable if the table is gone, or the sink was faster every time.
    """
    from pyiceberg.exceptions import CommitFailedException, ValidationException

    for attempt in range(1, COMMIT_ATTEMPTS + 1):
        table = open_table(settings)
        if table is None:
            raise CatalogUnavailable(f"the Iceberg table {settings.iceberg_table} is gone")
        try:
            change(table)
        except (CommitFailedException, ValidationException):
            time.sleep(random.uniform(0, 0.3 * attempt))
        except SQLAlchemyError as error:
            raise CatalogUnavailable(
                f"the Iceberg catalog refuses a commit ({str(error).splitlines()[0]})"
            ) from None
        else:
            return table
    raise CatalogUnavailable(
        f"the Iceberg table {settings.iceberg_table} changed during each of {COMMIT_ATTEMPTS}"
        " attempts to commit; try again when the sink is less busy"
    )


def live_files(table: "Table") -> dict[str, int]:
    """Return the paths of the table's current data files, and their sizes in bytes."""
    return {file.file_path: file.file_size_in_bytes for file in _data_files(table)}


def drop_files(table: "Table", paths: Set[str]) -> None:
    """Commit a snapshot without these data files, as far as the table still has them.

    They are listed one by one: a filter on their hours would also drop a file that was committed a
    moment ago.
    """
    dropped = [file for file in _data_files(table) if file.file_path in paths]
    if not dropped:
        return
    with table.transaction() as transaction, transaction.update_snapshot().overwrite() as change:
        for file in dropped:
            change.delete_data_file(file)


def replace_files(settings: Settings, replacements: Mapping[str, tuple[str, int]]) -> "Table":
    """Commit the table with other files in place of some, which hold the same rows otherwise.

    `replacements`: the new path and its size in bytes, by the old path. What the sink wrote into
    its newest snapshot, its position, is repeated in ours: so older snapshots may be expired. New
    files have no bounds of columns: those of the old ones quote what they held, and so does the
    manifest of what was dropped, which a second commit leaves behind.

    Raises CatalogUnavailable as `commit` does.
    """
    from pyiceberg.manifest import DataFile, DataFileContent, FileFormat

    def swap(table: "Table") -> None:
        spec = table.spec().spec_id
        old_files = [file for file in _data_files(table) if file.file_path in replacements]
        if not old_files:
            return
        with (
            table.transaction() as transaction,
            transaction.update_snapshot(
                snapshot_properties=_sink_properties(settings, table)
            ).overwrite() as change,
        ):
            for old in old_files:
                change.delete_data_file(old)
                if old.spec_id != spec:
                    continue  # Of an older table: our queries read it all the same.
                path, size = replacements[old.file_path]
                new = DataFile.from_args(
                    content=DataFileContent.DATA,
                    file_path=path,
                    file_format=FileFormat.PARQUET,
                    partition=old.partition,
                    record_count=old.record_count,
                    file_size_in_bytes=size,
                    sort_order_id=old.sort_order_id,
                )
                new.spec_id = spec
                change.append_data_file(new)

    def leave_behind(table: "Table") -> None:
        properties = _sink_properties(settings, table)
        with (
            table.transaction() as transaction,
            transaction.update_snapshot(snapshot_properties=properties).fast_append(),
        ):
            pass

    commit(settings, swap)
    return commit(settings, leave_behind)


def _sink_properties(settings: Settings, table: "Table") -> dict[str, str]:
    """Return what the sink wrote about its position into the newest of its snapshots."""
    chain = sink_chain(settings, table)
    summary = chain[-1].summary if chain else None
    properties = summary.additional_properties if summary else {}
    return {name: value for name, value in properties.items() if name.startswith("kafka.connect.")}


def expire_all_but_the_newest(settings: Settings) -> "Table":
    """Expire every snapshot that neither the sink nor a reference needs.

    Raises CatalogUnavailable as `commit` does.
    """

    def expire(table: "Table") -> None:
        needed = {snapshot.snapshot_id for snapshot in sink_chain(settings, table)}
        needed |= {ref.snapshot_id for ref in table.metadata.refs.values()}
        ids = [s.snapshot_id for s in table.metadata.snapshots if s.snapshot_id not in needed]
        if ids:
            table.maintenance.expire_snapshots().by_ids(ids).commit()

    commit(settings, expire)
    table = open_table(settings)
    assert table is not None
    return table


def _data_files(table: "Table") -> Iterator["DataFile"]:
    current = table.current_snapshot()
    for manifest in current.manifests(table.io) if current else ():
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            yield entry.data_file


def snapshot_paths(
    table: "Table", snapshots: Sequence["Snapshot"], progress: Callable[[str], object]
) -> set[str]:
    """Return all files that these snapshots need: manifest lists, manifests, data files.

    `progress` is called for each snapshot.
    """
    paths: set[str] = set()
    for number, snapshot in enumerate(snapshots):
        progress(f"reading snapshots: {number:,} of {len(snapshots):,}")
        paths.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path in paths:
                continue
            paths.add(manifest.manifest_path)
            entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
            paths.update(entry.data_file.file_path for entry in entries)
    return paths


def metadata_paths(table: "Table") -> set[str]:
    """Return the table's metadata file, the earlier ones that it names, and its statistics."""
    metadata = table.metadata
    return {
        table.metadata_location,
        *(entry.metadata_file for entry in metadata.metadata_log),
        *(statistics.statistics_path for statistics in metadata.statistics),
        *(statistics.statistics_path for statistics in metadata.partition_statistics),
    }


def sink_chain(settings: Settings, table: "Table") -> tuple["Snapshot", ...]:
    """Return the newest snapshot, and its ancestors back to the newest that the sink wrote.

    When it starts, the sink follows this chain to find its position: without the chain it reads
    its control topic from the beginning, and commits files twice. The last snapshot is the sink's,
    if the sink wrote any.
    """
    chain = []
    snapshot = table.current_snapshot()
    while snapshot is not None:
        chain.append(snapshot)
        if sink_wrote(settings, snapshot):
            break
        parent = snapshot.parent_snapshot_id
        snapshot = table.metadata.snapshot_by_id(parent) if parent is not None else None
    return tuple(chain)


def sink_wrote(settings: Settings, snapshot: "Snapshot") -> bool:
    """Return whether a snapshot's summary holds the sink's offsets in its control topic."""
    properties = snapshot.summary.additional_properties if snapshot.summary else {}
    return offsets_property(settings) in properties


def offsets_property(settings: Settings) -> str:
    """Return the name under which a snapshot's summary holds the sink's control offsets."""
    return f"kafka.connect.offsets.{CONTROL_TOPIC}.connect-{settings.connector_name}"
