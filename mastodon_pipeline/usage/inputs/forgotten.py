"""People and servers that were forgotten, in what the tables are built from.

After PERSON_RETENTION_DAYS that is everybody (`maintenance.person_retention`).

`mastodon-pipeline forget` makes the landed files nameless, too. Records that land later, late toots
or replayed ones, are nameless in the tables at once by what is here, and in the landed files after
the next maintenance.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.listening.records.record import FUTURE_TOLERANCE_MS

_HOUR = timedelta(hours=1)


@contextmanager
def without_forgotten(
    lake: Lake, hour: datetime, paths: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    """Give files with the hour's records of `paths`, nameless where somebody was forgotten.

    If nobody was, these are `paths` themselves. Raises SettingsError if there is no salt.
    """
    forgotten = lake.forgotten.current()
    if not forgotten.concerns(hour):
        yield tuple(paths)
        return
    lake.forgotten.prepare()
    # A new name each time: DuckDB may cache what a file of the same name held.
    nameless = Path(lake.empty_record).with_name(f"nameless-{uuid4().hex}.parquet")
    try:
        values = {
            **forgotten.parameters,
            "files": list(paths),
            "hour_start": hour,
            "hour_end": hour + _HOUR,
            "nameless_previous": [lake.empty_record],
            "future_tolerance": timedelta(milliseconds=FUTURE_TOLERANCE_MS),
            "path": str(nameless),
        }
        if hour == forgotten.persons_until:
            previous = lake.parquet_files(lake.layout.toots(hour - _HOUR))
            values["nameless_previous"] = [lake.empty_record, *(file.path for file in previous)]
        lake.connection.execute(query("usage/inputs/without_forgotten"), values)
        yield (lake.empty_record, str(nameless))
    finally:
        nameless.unlink(missing_ok=True)
