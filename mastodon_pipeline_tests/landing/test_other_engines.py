"""Spark, pyiceberg and DuckDB read the same Iceberg table, and count as our tables do.

Spark is none of our packages: `uv pip install pyspark==4.0.1`, with Java 17 or 21 on the PATH.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from importlib.util import find_spec

import pytest
from msgspec.structs import replace

from infra.native_stack import Stack
from mastodon_pipeline.lake.connection import connect_lake
from mastodon_pipeline.landing.iceberg import open_table
from mastodon_pipeline.paths import REPOSITORY
from mastodon_pipeline_tests.support.producing import produce, toots
from mastodon_pipeline_tests.support.sink_lake import SETTINGS, YOUNG, SinkLake, young_lake
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.integration
HOURS = 5
COUNTED = dict[tuple[str, str], int]
NAMES = SETTINGS | {
    "kafka_topic": "engines-topic",
    "s3_bucket": "engines-bucket",
    "connector_name": "engines-sink",
    "iceberg_table": "engines.raw",
}
QUESTION = """
    SELECT date_format(date_trunc('hour', created_at), 'yyyy-MM-dd HH') AS hour, server,
        count(DISTINCT uri) AS toots
    FROM lake.engines.raw GROUP BY 1, 2
"""


def spark_java() -> str | None:
    """Return the home of a Java that Spark runs on; None if there is none on the PATH."""
    java = shutil.which("java")
    if java is None:
        return None
    version = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    home = os.path.dirname(os.path.dirname(os.path.realpath(java)))
    return home if re.search(r'"(17|21)[."]', version) else None


@pytest.fixture(scope="module")
def lake(stack: Stack) -> Iterator[SinkLake]:
    """A lake with toots of three servers, some of them landed twice."""
    with young_lake(NAMES) as lake:
        records = [
            replace(
                record,
                uri=f"https://s{number % 3}.example/{number}",
                server=f"s{number % 3}.example",
                status_id=f"{number}",
            )
            for number, record in enumerate(toots(300, YOUNG + timedelta(hours=1), HOURS))
        ]
        before = lake.committed_rows()
        produced = produce(lake.settings, [*records, *records[:50]])
        wait_until(lambda: lake.committed_rows() >= before + produced, "the sink has committed")
        lake.build(YOUNG, HOURS + 1)
        yield lake


@pytest.fixture(scope="module")
def counted(lake: SinkLake) -> COUNTED:
    """`toots_per_server_per_hour`, by hour and server."""
    files = f"s3://{lake.settings.s3_bucket}/usage/toots_per_server_per_hour/**/*.parquet"
    statement = (
        "SELECT strftime(hour, '%Y-%m-%d %H'), server, toots"
        " FROM read_parquet($1, hive_partitioning := false)"
    )
    with closing(connect_lake(lake.settings)) as connection:
        rows = connection.execute(statement, [files]).fetchall()
    assert len(rows) == 1 + 3 * HOURS
    return {(hour, server): toots for hour, server, toots in rows}


def test_pyiceberg_counts_as_the_tables_do(lake: SinkLake, counted: COUNTED) -> None:
    table = open_table(lake.settings)
    assert table is not None
    statement = (
        "SELECT strftime(date_trunc('hour', created_at), '%Y-%m-%d %H'), server,"
        " count(DISTINCT uri) FROM records GROUP BY ALL"
    )
    with closing(connect_lake(lake.settings)) as connection:
        connection.register("records", table.scan().to_arrow())
        rows = connection.execute(statement).fetchall()
    assert {(hour, server): toots for hour, server, toots in rows} == counted


@pytest.mark.timeout(1800)  # it downloads 120 MB the first time
@pytest.mark.skipif(find_spec("pyspark") is None, reason="needs pyspark")
@pytest.mark.skipif(spark_java() is None, reason="needs Java 17 or 21")
def test_spark_counts_as_the_tables_do(lake: SinkLake, counted: COUNTED) -> None:
    """By the configuration in docs/operations.md; also SELECT *."""
    settings = lake.settings
    keys = (settings.aws_access_key_id, settings.aws_secret_access_key)
    key_id, secret = (key.get_secret_value() if key else "" for key in keys)
    values = {
        "CATALOG_URI": settings.iceberg_catalog_uri,
        "S3_ENDPOINT": settings.s3_endpoint,
        "S3_BUCKET": settings.s3_bucket,
        "AWS_ACCESS_KEY_ID": key_id,
        "AWS_SECRET_ACCESS_KEY": secret,
    }
    environment = {**os.environ, **values, "JAVA_HOME": spark_java() or ""}
    script = (
        f"{documented_session()}\n"
        f"rows = spark.sql('''{QUESTION}''').collect()\n"
        "columns = spark.sql('SELECT * FROM lake.engines.raw LIMIT 1').columns\n"
        "import json\n"
        "print('ANSWER', json.dumps([[list(row) for row in rows], columns]))\n"
        "spark.stop()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    [answer] = re.findall(r"^ANSWER (.*)$", result.stdout, re.MULTILINE)
    rows, columns = json.loads(answer)
    assert {(hour, server): toots for hour, server, toots in rows} == counted
    assert {"kafka_partition", "kafka_offset", "kafka_timestamp", "mastodon_text"} <= set(columns)


def documented_session() -> str:
    """Return the Python of the docs that opens Spark's session."""
    text = (REPOSITORY / "docs" / "operations.md").read_text()
    code: str
    [code] = re.findall(r"```python\n(.*?SparkSession.*?)```", text, re.DOTALL)
    return code
