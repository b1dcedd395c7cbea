"""The sink's Iceberg table, for those who look after it: opened through the sink's own catalog.

Every change is a commit against the table as it then is. The catalog takes one only where nobody
else committed in between (an `UPDATE ... WHERE metadata_location = <the one read>`), so the
sink's commits and ours cannot overwrite each other: the later one is refused and made anew.

See: https://iceberg.apache.org/spec/ and https://py.iceberg.apache.org/
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence, Set
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from mastodon_pipeline.errors import CatalogUnavailable, SettingsError
from mastodon_pipeline.lake.bucket import s3_credentials
from mastodon_pipeline.landing.connector_config import CONTROL_TOPIC
from mastodon_pipeline.settings import Settings

if TYPE_CHECKING:  # it takes half a second to import, which only maintenance shall wait for
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot


CATALOG = "lake"
"""The catalog's name in the sink's config (`iceberg.catalog`): its rows are kept under it."""
BUSY_TIMEOUT_S = 15
"""How long SQLite waits for the sink's transaction, as the sink waits for ours."""
COMMIT_ATTEMPTS = 12


def catalog_address(settings: Settings) -> URL:
    """The catalog as SQLAlchemy addresses it: LAKE_CATALOG_URI, else what Connect was given.

    A SQLite file is opened, never made: an empty catalog would be one more thing to go wrong.

    Raises SettingsError for a JDBC address that is neither SQLite's nor PostgreSQL's.
    """
    if settings.lake_catalog_uri is not None:
        from sqlalchemy import make_url

        return make_url(settings.lake_catalog_uri.get_secret_value())
    scheme, _, rest = settings.iceberg_catalog_uri.removeprefix("jdbc:").partition(":")
    if scheme == "sqlite":
        path = rest.removeprefix("file:").partition("?")[0]
        options = {"mode": "rw", "uri": "true", "timeout": str(BUSY_TIMEOUT_S)}
        return URL.create("sqlite", database=f"file:{quote(path)}", query=options)
    if scheme == "postgresql":
        parts = urlsplit(f"postgresql:{rest}")
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        user, password = options.pop("user", None), options.pop("password", None)
        return URL.create(
            *("postgresql", user, password, parts.hostname, parts.port, parts.path[1:]),
            query=options,
        )
    raise SettingsError(
        f"the pipeline cannot reach an Iceberg catalog at {settings.iceberg_catalog_uri!r}: set"
        " LAKE_CATALOG_URI to its address as SQLAlchemy writes it"
    )


def open_table(settings: Settings) -> "Table | None":
    """The sink's table as it is now; None where the sink has not made it yet.

    Raises CatalogUnavailable where the catalog cannot be reached, and SettingsError as
    `catalog_address` does.
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
                **({"s3.session-token": keys.session_token} if keys.session_token else {}),
            },
        )
        return catalog.load_table(settings.iceberg_table)
    except NoSuchTableError:
        return None
    except (SQLAlchemyError, ImportError) as error:
        told = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise CatalogUnavailable(
            f"the Iceberg catalog at {address.render_as_string()} cannot be read ({told}): start"
            " the sink once, or set LAKE_CATALOG_URI to its address as SQLAlchemy writes it"
        ) from None


def commit(settings: Settings, change: Callable[["Table"], object]) -> "Table":
    """Commits a change of the table, made anew as often as the sink is faster.

    `change` gets the table as it is, and must commit. It is called again with a newer table where
    that is refused, so it may rely on nothing that it was not just given.

    Raises CatalogUnavailable where the table is gone, or the sink was faster every time.
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
        f"the Iceberg table {settings.iceberg_table} changed under each of {COMMIT_ATTEMPTS}"
        " tries to commit; try again when the sink is less busy"
    )


def live_files(table: "Table") -> dict[str, int]:
    """The paths of the table's data files as it is now, and their bytes."""
    return {file.file_path: file.file_size_in_bytes for file in _data_files(table)}


def drop_files(table: "Table", paths: Set[str]) -> None:
    """Commits a snapshot without these data files, as far as the table still has them.

    They are named one by one: a filter on their hours would also take a file that was committed a
    moment ago.
    """
    doomed = [file for file in _data_files(table) if file.file_path in paths]
    if not doomed:
        return
    with table.transaction() as transaction, transaction.update_snapshot().overwrite() as change:
        for file in doomed:
            change.delete_data_file(file)


def _data_files(table: "Table") -> Iterator["DataFile"]:
    current = table.current_snapshot()
    for manifest in current.manifests(table.io) if current else ():
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            yield entry.data_file


def snapshot_paths(
    table: "Table", snapshots: Sequence["Snapshot"], progress: Callable[[str], object]
) -> set[str]:
    """Every file that these snapshots need: manifest lists, manifests, data files.

    `progress` is told of each snapshot.
    """
    paths: set[str] = set()
    for number, snapshot in enumerate(snapshots):
        progress(f"reading what snapshots name, {number:,} of {len(snapshots):,}")
        paths.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path in paths:
                continue
            paths.add(manifest.manifest_path)
            entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
            paths.update(entry.data_file.file_path for entry in entries)
    return paths


def metadata_paths(table: "Table") -> set[str]:
    """The table's metadata file, those before it that it names, and its statistics' files."""
    metadata = table.metadata
    return {
        table.metadata_location,
        *(entry.metadata_file for entry in metadata.metadata_log),
        *(one.statistics_path for one in metadata.statistics),
        *(one.statistics_path for one in metadata.partition_statistics),
    }


def sink_chain(settings: Settings, table: "Table") -> tuple["Snapshot", ...]:
    """The newest snapshot, and its ancestors down to the newest that the sink wrote.

    At its start the sink walks this way to find where it was: without it, it reads its control
    topic from the beginning and commits files twice. The last one is the sink's, if there is one.
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
    """Whether a snapshot's summary holds the sink's place in its control topic."""
    said = snapshot.summary.additional_properties if snapshot.summary else {}
    group = f"connect-{settings.connector_name}"
    return f"kafka.connect.offsets.{CONTROL_TOPIC}.{group}" in said
