"""Replaces a file by one that was made from other files: from one version of them, and in order.

**What can go wrong here, and what protects it.** A process may stop between any two steps and go
on hours later: a suspended machine, a hung disk. Then

* its input may be replaced between two reads: it is listed before and after, and if it differs, the
  file is made again;
* a newer file may have been put in its place: the version that it replaces is noted before the
  input is listed, and the object store refuses the write if another is there by then (`If-Match`,
  `If-None-Match`). So a file never replaces one that was made from newer input, and a fingerprint
  is always that of the content that carries it.

A caller that has just written the input itself need not list it before: if anything newer was made
from newer input meanwhile, the listing afterwards shows that input.

See: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import duckdb

from mastodon_pipeline.errors import TableError
from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.lake import Lake

T = TypeVar("T")
MAX_ATTEMPTS = 5
"""Each takes as long as a build; what replaces the input takes longer."""


def no_inputs() -> Sequence[StoredFile]:
    """Return no files: for what is made from files that are never replaced."""
    return ()


def replace_file(
    lake: Lake,
    path: str,
    make: Callable[[Sequence[StoredFile], str], T],
    list_inputs: Callable[[], Sequence[StoredFile]] = no_inputs,
    written: Sequence[StoredFile] = (),
) -> T:
    """Put a new file at `path`; return what `make` returned.

    `make` gets the input, and writes the file to the local path that it gets; if it writes none,
    what is there stays. It is called again if the input, or the file at `path`, was replaced
    meanwhile. `written`: the input, if this process has just put it there.

    Raises TableError if that happens five times.
    """
    for attempt in range(MAX_ATTEMPTS):
        listed = lake.replaced.below(path) if attempt == 0 else lake.list_files(path)
        replaced = next((file for file in listed if file.path == path), None)
        inputs = written if written and attempt == 0 else list_inputs()
        # A new name each time: DuckDB may cache what a file of the same name held.
        local = Path(lake.empty_record).with_name(f"{uuid4().hex}{Path(path).suffix}")
        try:
            result = make(inputs, str(local))
            if not local.exists():
                return result
            if _versions(list_inputs()) == _versions(inputs):
                etag = lake.put_in_place_of(replaced, path, local)
                if etag is not None:
                    lake.written.keep(path, etag, local)
                    return result
        except duckdb.Error:
            if _versions(list_inputs()) == _versions(inputs):
                raise  # else half of an old file and half of a new one were read
        finally:
            local.unlink(missing_ok=True)
    raise TableError(
        f"{path} is left as it was: it, or what it is made from, was replaced during each of"
        f" {MAX_ATTEMPTS} attempts; build it again"
    )


def _versions(files: Sequence[StoredFile]) -> list[tuple[str, str]]:
    return [(file.path, file.etag) for file in files]
