"""Spark, pyiceberg, pyarrow and DuckDB read the lake, by the lines of the docs, and agree.

Spark is none of our packages: `make spark` installs it, for a Java 17 or 21 that is on the PATH.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from msgspec.structs import replace

from infra.native_stack import Stack
from mastodon_pipeline.lake.connection import connect_lake
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.landing.iceberg import open_table
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.paths import REPOSITORY
from mastodon_pipeline.usage.tables.daily import DAILY_TABLES
from mastodon_pipeline.usage.tables.hourly import HOURLY_TABLES
from mastodon_pipeline_tests.docs.pages import DOCS, section
from mastodon_pipeline_tests.support.building import build_day
from mastodon_pipeline_tests.support.producing import produce, toots
from mastodon_pipeline_tests.support.sink_lake import SETTINGS, YOUNG, SinkLake, young_lake
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.integration
HOURS = 5
NAMES = SETTINGS | {
    "kafka_topic": "engines-topic",
    "s3_bucket": "engines-bucket",
    "connector_name": "engines-sink",
    "iceberg_table": "engines.raw",
}
SPARK_PYTHON = REPOSITORY / ".venv-spark" / "bin" / "python"
CLUSTER = "local-cluster[2,1,1024]"
"""A master and two workers with a core and an executor of 1 GB each."""
COUNTED = "toots_per_server_per_hour"
TABLES = [
    (table.name, "toots" if table.name == "toots" else f"usage/{table.name}")
    for table in (*HOURLY_TABLES, *DAILY_TABLES)
]
"""Each table's name and folder."""


def records_of(number: int, record: TootRecord) -> list[TootRecord]:
    """Return what servers report of a toot: the more, the more its number is divisible by."""
    home, user = f"s{number % 3}.example", f"user{number % 17}"
    own = replace(
        record,
        uri=f"https://{home}/users/{user}/statuses/{number}",
        status_id=f"{number}",
        base_url=f"https://{home}",
        server=home,
        username=user,
        acct=user,
        bot=number % 17 < 3,
        reply=number % 4 == 0,
        language="de-CH" if number % 2 else "",
        language_primary="de" if number % 2 else "",
        mastodon_text=f"toot {number}",
        characters=9,
        words=2,
    )
    records = [own]
    if number % 5 == 0:  # An observer has another language of it, and takes its author for a bot.
        other = replace(own, base_url="https://observer.example", acct=f"{user}@{home}")
        records.append(replace(other, language="fr", language_primary="fr", bot=True))
    if number % 7 == 0:
        later = own.created_at + 60_000
        records.insert(0, replace(own, event="status.update", edited_at=later, reply=False))
    if number % 11 == 0:
        records.append(replace(own, event="delete", mastodon_text=""))
    return records * 2 if number % 6 == 0 else records


@pytest.fixture(scope="module")
def lake(stack: Stack) -> Iterator[SinkLake]:
    """A lake with toots of three servers, some with several records, and all its tables."""
    with young_lake(NAMES) as lake:
        first = YOUNG + timedelta(hours=1)
        records = [
            record
            for number, toot in enumerate(toots(300, first, HOURS))
            for record in records_of(number, toot)
        ]
        before = lake.committed_rows()
        produced = produce(lake.settings, records)
        wait_until(lambda: lake.committed_rows() >= before + produced, "the sink has committed")
        lake.build(YOUNG, HOURS + 1)
        with open_lake(lake.settings) as opened:
            build_day(opened, YOUNG.date())
        yield lake


@pytest.fixture
def connection(lake: SinkLake) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with a view of each table: the columns of its files, and the day of their folder."""
    with closing(connect_lake(lake.settings)) as connection:
        for name, folder in TABLES:
            files = f"s3://{lake.settings.s3_bucket}/{folder}/**/*.parquet"
            of_folder = "EXCLUDE (hour)" if name == "toots" else ""
            connection.execute(
                f"CREATE VIEW {name} AS SELECT * {of_folder} FROM read_parquet('{files}',"
                " hive_partitioning := true, hive_types := {'day': DATE})"
            )
        yield connection


@pytest.fixture
def environment(lake: SinkLake) -> dict[str, str]:
    """The variables that the docs tell to set."""
    settings = lake.settings
    keys = (settings.aws_access_key_id, settings.aws_secret_access_key)
    key_id, secret = (key.get_secret_value() if key else "" for key in keys)
    return {
        **os.environ,
        "CATALOG_URI": settings.iceberg_catalog_uri,
        "S3_ENDPOINT": settings.s3_endpoint,
        "S3_BUCKET": settings.s3_bucket,
        "AWS_ACCESS_KEY_ID": key_id,
        "AWS_SECRET_ACCESS_KEY": secret,
    }


def documented(text: str) -> str:
    """Return the Python of the docs that has this text."""
    blocks = re.findall(
        r"```python\n(.*?)```", section(DOCS / "operations.md", "Other engines"), re.S
    )
    [code] = [block for block in blocks if text in block]
    return str(code)


def assert_same_rows(connection: duckdb.DuckDBPyConnection, table: str, other: str) -> None:
    """Fail unless `other` has every column of `table`, and the same rows as often."""
    columns = ", ".join(name for name, *_ in connection.table(table).description)
    ours, theirs = f"(SELECT {columns} FROM {table})", f"(SELECT {columns} FROM {other})"
    for first, second in ((ours, theirs), (theirs, ours)):
        difference = connection.sql(f"FROM {first} EXCEPT ALL FROM {second}").fetchall()
        assert difference == [], f"{table} and {other}"


def test_pyiceberg_counts_as_the_tables_do(
    lake: SinkLake, connection: duckdb.DuckDBPyConnection
) -> None:
    table = open_table(lake.settings)
    assert table is not None
    connection.register("records", table.scan().to_arrow())
    connection.execute(
        "CREATE VIEW counted AS SELECT hour, server, toots FROM toots_per_server_per_hour;"
        "CREATE VIEW recount AS SELECT date_trunc('hour', created_at) AS hour, server,"
        " count(DISTINCT uri) AS toots FROM records GROUP BY ALL"
    )
    assert_same_rows(connection, "counted", "recount")


@pytest.mark.parametrize(("table", "folder"), TABLES)
def test_pyarrow_reads_every_table(
    lake: SinkLake,
    connection: duckdb.DuckDBPyConnection,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    folder: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code = documented("pyarrow")
    assert f"/usage/{COUNTED}" in code
    names: dict[str, Any] = {}
    exec(code.replace(f"/usage/{COUNTED}", f"/{folder}"), names)
    connection.register("read_by_pyarrow", names["counted"])
    assert_same_rows(connection, table, "read_by_pyarrow")


def spark_java() -> str | None:
    """Return the home of a Java that Spark runs on; None if there is none on the PATH."""
    java = shutil.which("java")
    if java is None:
        return None
    version = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    home = os.path.dirname(os.path.dirname(os.path.realpath(java)))
    return home if re.search(r'"(17|21)[."]', version) else None


@pytest.mark.spark
@pytest.mark.timeout(3600)  # 17 min on a machine with a load of 80; it downloads 120 MB at first
@pytest.mark.skipif(not SPARK_PYTHON.exists(), reason="needs Spark: make spark")
@pytest.mark.skipif(spark_java() is None, reason="needs Java 17 or 21")
def test_spark_reads_every_table_and_recounts_toots_per_server_per_hour(
    lake: SinkLake,
    connection: duckdb.DuckDBPyConnection,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    """On a driver and two executors; also SELECT * of the records."""
    script = [
        documented("SparkSession").replace(
            "lake.mastodon.toots_raw", f"lake.{NAMES['iceberg_table']}"
        ),
        documented("recount"),
        "spark.conf.set('spark.sql.parquet.outputTimestampType', 'TIMESTAMP_MICROS')",
        f"raw.write.parquet('file://{tmp_path}/raw')",
        f"recount.write.parquet('file://{tmp_path}/recount')",
        *(
            f"spark.read.parquet('s3a://{lake.settings.s3_bucket}/{folder}')"
            f".write.parquet('file://{tmp_path}/{table}')"
            for table, folder in TABLES
        ),
        "print('EXECUTORS', spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() - 1)",
        "spark.stop()",
    ]
    variables = {
        "JAVA_HOME": spark_java() or "",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_MASTER": CLUSTER,
    }
    result = subprocess.run(
        [SPARK_PYTHON, "-c", "\n".join(script)],
        env=environment | variables,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "EXECUTORS 2\n" in result.stdout

    def written(name: str) -> str:
        return f"read_parquet('{tmp_path}/{name}/*.parquet')"

    records = connection.sql(
        f"SELECT count(*), count(kafka_offset) FROM {written('raw')}"
    ).fetchone()
    assert records == (lake.committed_rows(), lake.committed_rows())
    connection.execute(f"CREATE VIEW counted AS SELECT * EXCLUDE (day) FROM {COUNTED}")
    assert_same_rows(connection, "counted", written("recount"))
    for table, _ in TABLES:
        assert_same_rows(connection, table, written(table))
