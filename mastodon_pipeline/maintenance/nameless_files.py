"""Landed files without the people and servers that were forgotten, or without anybody.

Each file is written again beside the old one, with the same rows in the same order, the same
columns and the same field ids; the Iceberg table is then given the new files in place of the old,
its other snapshots are expired, and the old files go, with the manifests that quote them.

**What can be lost here, and what protects it.** Nothing: an old file goes only once the new one is
there and, if the table named the old one, named by the table. Killed in between, both are there:
a record that landed twice counts once, and the next run continues.
"""

import io
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.forgotten import Forgotten
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.landing.iceberg import (
    expire_all_but_the_newest,
    live_files,
    open_table,
    replace_files,
    snapshot_paths,
)
from mastodon_pipeline.maintenance.objects import BucketRemover
from mastodon_pipeline.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_FILES_PER_QUERY = 500


@dataclass(frozen=True, slots=True)
class NamingFiles:
    """Files that name people or servers that were forgotten."""

    files: tuple[StoredFile, ...]
    uris: frozenset[str]
    """The toots that they name, by which their deletes are known."""


def find_naming_files(
    lake: Lake, forgotten: Forgotten, files: Sequence[StoredFile], known: frozenset[str]
) -> NamingFiles:
    """Return those of these files that still name somebody. `known`: toots known already."""
    by_path = {file.path: file for file in files}
    uris = set(known)
    while True:
        naming: list[StoredFile] = []
        wanted = set(uris)
        paths = list(by_path)
        for start in range(0, len(paths), _FILES_PER_QUERY):
            values = {
                **forgotten.name_parameters,
                "uris": sorted(uris),
                "files": [lake.empty_record, *paths[start : start + _FILES_PER_QUERY]],
            }
            rows = lake.connection.execute(query("maintenance/files_that_name"), values).fetchall()
            for path, named in rows:
                naming.append(by_path[path])
                wanted.update(named)
        if wanted == uris:
            return NamingFiles(tuple(naming), frozenset(uris))
        uris = wanted  # A delete of one of these may be in a file that names nobody itself.


def find_files_with_persons(
    lake: Lake, forgotten: Forgotten, files: Sequence[StoredFile]
) -> list[StoredFile]:
    """Return those of these files that still name people before `persons_until`."""
    by_path = {file.path: file for file in files}
    paths = list(by_path)
    naming: list[StoredFile] = []
    for start in range(0, len(paths), _FILES_PER_QUERY):
        values = {
            "persons_until": forgotten.persons_until,
            "files": [lake.empty_record, *paths[start : start + _FILES_PER_QUERY]],
        }
        rows = lake.connection.execute(query("maintenance/files_with_persons"), values).fetchall()
        naming += [by_path[path] for (path,) in rows]
    return naming


def make_nameless(
    settings: Settings,
    s3: "S3Client",
    lake: Lake,
    remover: BucketRemover,
    forgotten: Forgotten,
    naming: NamingFiles,
) -> None:
    """Replace landed files by nameless ones. Raises as `maintain` does."""
    replacements: dict[str, tuple[str, int]] = {}
    for number, file in enumerate(naming.files, 1):
        remover.progress(f"rewriting landed files: {number:,} of {len(naming.files):,}")
        path = f"{file.path.rpartition('/')[0]}/{uuid4().hex}-nameless.parquet"
        content = _nameless_content(settings, s3, lake, forgotten, naming, file)
        s3.put_object(
            Bucket=settings.s3_bucket,
            Key=lake.layout.key(path),
            Body=content,
            ContentType="application/vnd.apache.parquet",
        )
        replacements[file.path] = path, len(content)
    if settings.sink == "iceberg":
        _swap_in_table(settings, lake, remover, replacements)
    lake.landed.forget([file.path for file in naming.files])
    remover.remove(naming.files)


def forget_old_snapshots(settings: Settings, lake: Lake, remover: BucketRemover) -> None:
    """Leave the newest snapshot alone, and remove the manifests that only older ones needed."""
    table = open_table(settings)
    if table is None:
        return
    before = snapshot_paths(table, table.metadata.snapshots, remover.progress)
    _expire(settings, lake, remover, before)


def _swap_in_table(
    settings: Settings,
    lake: Lake,
    remover: BucketRemover,
    replacements: Mapping[str, tuple[str, int]],
) -> None:
    table = open_table(settings)
    if table is None:
        return
    before = snapshot_paths(table, table.metadata.snapshots, remover.progress)
    if live_files(table).keys() & replacements.keys():
        swapped = replace_files(settings, replacements)
        before |= snapshot_paths(swapped, swapped.metadata.snapshots, remover.progress)
    _expire(settings, lake, remover, before)


def _expire(settings: Settings, lake: Lake, remover: BucketRemover, before: set[str]) -> None:
    table = expire_all_but_the_newest(settings)
    needed = snapshot_paths(table, table.metadata.snapshots, remover.progress)
    folder = f"{table.location().rstrip('/')}/metadata/"
    # Data files are not removed here: that takes maintenance's receipts.
    unneeded = {path for path in before - needed if path.startswith(folder)}
    if unneeded and folder.startswith(f"{lake.layout.root}/"):
        remover.remove([file for file in lake.list_files(folder) if file.path in unneeded])


def _nameless_content(
    settings: Settings,
    s3: "S3Client",
    lake: Lake,
    forgotten: Forgotten,
    naming: NamingFiles,
    file: StoredFile,
) -> bytes:
    import pyarrow.parquet as parquet  # type: ignore[import-untyped]

    response = s3.get_object(Bucket=settings.s3_bucket, Key=lake.layout.key(file.path))
    with closing(response["Body"]) as body:
        table = parquet.read_table(io.BytesIO(body.read()), partitioning=None)
    values = {
        **forgotten.parameters,
        "uris": sorted(naming.uris),
        "files": [lake.empty_record, file.path],
    }
    rows = lake.connection.execute(query("maintenance/rows_without_names"), values)
    nameless = rows.to_arrow_table()
    assert nameless.num_rows == table.num_rows
    for name in nameless.column_names:
        if name not in table.column_names:
            continue
        position = table.schema.get_field_index(name)
        field = table.schema.field(position)
        table = table.set_column(position, field, nameless.column(name).cast(field.type))
    output = io.BytesIO()
    parquet.write_table(table, output, compression="zstd")
    return output.getvalue()
