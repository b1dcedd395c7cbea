"""The sink's files are an Iceberg table too, in which other engines count the same records."""

from importlib.resources import files

import duckdb
import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.landing.iceberg import open_table
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.landing_sink import wait_for_sink

pytestmark = pytest.mark.integration

BY_HOUR = """
    SELECT date_trunc('hour', created_at) AS hour, count(*) AS records
    FROM {records}
    GROUP BY ALL
    ORDER BY ALL
"""


def load_iceberg(lake: Lake) -> None:
    """Load DuckDB's signed extensions from their wheels: INSTALL would need the internet."""
    for name in ("avro", "iceberg"):
        path = f"extensions/v{duckdb.__version__}/{name}.duckdb_extension"
        lake.connection.execute(f"LOAD '{files(f'duckdb_extension_{name}').joinpath(path)}'")


def test_pyiceberg_and_duckdb_iceberg_count_the_landed_records(
    sink: Settings, landed: int, lake: Lake
) -> None:
    """Through the catalog, through its newest metadata file, and by the files themselves.

    Only the files may hold a record twice, if a commit was interrupted. Shows G10.
    """
    wait_for_sink(sink)
    table = open_table(sink)
    assert table is not None
    load_iceberg(lake)
    iceberg = lake.connection.execute(
        BY_HOUR.format(records="iceberg_scan($metadata)"), {"metadata": table.metadata_location}
    ).fetchall()
    ours = lake.connection.execute(
        BY_HOUR.format(
            records="(SELECT DISTINCT kafka_partition, kafka_offset, created_at"
            " FROM read_parquet($files))"
        ),
        {"files": [file.path for file in lake.parquet_files(lake.layout.landed())]},
    ).fetchall()
    assert iceberg == ours
    assert table.scan().count() == sum(records for _, records in ours) >= landed
