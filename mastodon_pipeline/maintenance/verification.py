"""Whether an hour's tables may replace its landed files: checked before these are removed."""

from datetime import datetime
from pathlib import Path
from uuid import uuid4

import duckdb

from mastodon_pipeline.errors import RecordsGone
from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.usage.checks.hours import hours_equal_recount
from mastodon_pipeline.usage.inputs.hour_records import hour_records
from mastodon_pipeline.usage.tables.hourly import write_toots


def why_not_verified(lake: Lake, hour: datetime, files: tuple[StoredFile, ...]) -> str | None:
    """Return why the tables of an hour (its start, UTC) may not replace these files.

    None if they may, which takes all of this:

    * both hourly tables carry the fingerprint of exactly these files, in these versions;
    * no other landed file holds records of the hour;
    * `toots` built again from the files, by today's query, is the same, row by row;
    * the counts equal a recount from the files.
    """
    toots, counts = lake.layout.toots(hour), lake.layout.toots_per_server(hour)
    if not (lake.parquet_files(toots) and lake.parquet_files(counts)):
        return "its tables are not built"
    rebuilt = Path(lake.empty_record).with_name(f"rebuilt-{uuid4().hex}.parquet")
    try:
        with hour_records(lake, hour) as records:
            expected = fingerprint(files)
            built_from = lake.built_from([toots, counts])
            if fingerprint(records.landed) != expected:
                return "files landed or were removed just now"
            if built_from.get(toots) != expected or built_from.get(counts) != expected:
                return "its tables were made from other files"
            write_toots(lake, hour, records, str(rebuilt))
            differing = _differing(lake, toots, str(rebuilt), records.slices)
            if differing:
                return f"its toots differ from a rebuild ({differing})"
        finding = hours_equal_recount(lake, [hour])
    except RecordsGone as error:
        return str(error)
    except duckdb.Error as error:
        return f"its files cannot be read: {str(error).splitlines()[0]}"
    finally:
        rebuilt.unlink(missing_ok=True)
    if finding.faults or finding.compared != 1:
        return f"its counts are not verified: {finding.summary.splitlines()[-1]}"
    return None


def _differing(lake: Lake, current: str, rebuilt: str, slices: int) -> str:
    differing = 0
    for number in range(slices):
        values = {"current": current, "rebuilt": rebuilt, "slices": slices, "slice": number}
        try:
            row = lake.connection.execute(query("maintenance/differing_toots"), values).fetchone()
        except duckdb.BinderException:
            return "in their columns: they were made by another version of the query"
        differing += row[0] if row else 0
    return f"{differing} rows" if differing else ""
