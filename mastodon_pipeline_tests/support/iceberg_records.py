"""Whether the Iceberg table has each landed record once."""

from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.landing.iceberg import open_table
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.waiting import wait_until

_COLUMNS = ("kafka_partition", "kafka_offset")


def assert_iceberg_has_each_record_once(settings: Settings) -> None:
    """As many rows as there are records in the landed files, and as many coordinates."""
    with open_lake(settings) as lake:
        files = [file.path for file in lake.parquet_files(lake.layout.landed())]
        [(records,)] = lake.connection.execute(
            f"SELECT count(DISTINCT ({', '.join(_COLUMNS)})) FROM read_parquet($files)",
            {"files": files},
        ).fetchall()

    def rows() -> list[tuple[int, int]]:
        table = open_table(settings)
        assert table is not None
        scanned = table.scan(selected_fields=_COLUMNS).to_arrow().to_pylist()
        return [(row["kafka_partition"], row["kafka_offset"]) for row in scanned]

    wait_until(lambda: len(set(rows())) == records, "the last commit", 300, poll_seconds=2)
    assert len(rows()) == records
