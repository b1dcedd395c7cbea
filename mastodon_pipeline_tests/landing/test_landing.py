"""The topic lands as Parquet, on the real stack: Kafka, registry, Connect and MinIO."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import dagster as dg
import duckdb
import pytest

from infra.native_stack import Stack
from mastodon_pipeline.landing.assets import landed_toots_check, observe_landed_toots
from mastodon_pipeline.landing.bucket import ensure_bucket, s3_client
from mastodon_pipeline.landing.completeness import landing_completeness
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.landing.connector import apply_connector_config
from mastodon_pipeline.landing.connector_config import connector_config
from mastodon_pipeline.landing.errors import LandingError
from mastodon_pipeline.landing.health import SinkState, Watermark, connector_health
from mastodon_pipeline.landing.jobs import kafka_connect_config
from mastodon_pipeline.landing.lake import LakeResource, connect_lake
from mastodon_pipeline.landing.landed import landed_files, landed_toots
from mastodon_pipeline.landing.sensors import connector_supervisor
from mastodon_pipeline.landing.sink_progress import dead_lettered, sink_progress
from mastodon_pipeline.listening.toot_schema import toot_schema
from mastodon_pipeline.listening.topics import ensure_topics
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline_tests.landing.producing import eventually, produce, produce_bytes, toots

pytestmark = pytest.mark.integration

FIRST = datetime(2026, 3, 1, 9, tzinfo=UTC)
HOURS = 4
COUNT = 1000
NAMES = {
    "KAFKA_TOPIC": "landing-topic",
    "S3_BUCKET": "landing-bucket",
    "CONNECTOR_NAME": "landing-sink",
    "ICEBERG_TABLE": "landing.raw",
}
LONG_AGO = 1_000.0


def lag(settings: Settings) -> int:
    return sum(place.lag for place in sink_progress(settings))


def caught_up(settings: Settings) -> None:
    eventually(lambda: lag(settings) == 0, "the sink has committed all records")


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Iterator[Settings]:
    """The stack's settings with names of this module's own, as the environment gives them."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in NAMES.items():
            environment.setenv(name, value)
        settings = load_settings()
        yield settings
        with ConnectRest(settings.kafka_connect_url) as connect:
            connect.delete(settings.connector_name)


@pytest.fixture(scope="module")
def landed(settings: Settings) -> int:
    """A connector made by the job, and 1000 toots of four hours landed; returns their number.

    The first record ever is a tombstone, which could neither make a table nor land in one.
    """
    ensure_topics(settings)
    produce_bytes(settings, None, partition=0)
    produce(settings, toots(COUNT, FIRST, HOURS))
    with dg.DagsterInstance.ephemeral() as instance:
        assert kafka_connect_config.execute_in_process(instance=instance).success
    caught_up(settings)
    return COUNT


@pytest.fixture
def lake(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB over this module's bucket."""
    with connect_lake(settings) as connection:
        yield connection


def test_files_land_in_the_hours_in_which_their_toots_were_posted(
    settings: Settings, landed: int, lake: duckdb.DuckDBPyConnection
) -> None:
    """`created_at_hour=YYYY-MM-DD-HH` stands directly below the topic's folder."""
    hours = {
        f"s3://landing-bucket/topics/landing-topic/created_at_hour={hour:%Y-%m-%d-%H}": hour
        for hour in (FIRST + timedelta(hours=number) for number in range(HOURS))
    }
    files = landed_files(settings)
    assert {file.path.rpartition("/")[0] for file in files} == set(hours)
    for file in files:
        assert file.hour == hours[file.path.rpartition("/")[0]]
        found = lake.execute(
            "SELECT DISTINCT date_trunc('hour', created_at) FROM read_parquet(?)", [file.path]
        ).fetchall()
        assert found == [(file.hour,)]


def test_every_field_is_a_column_and_the_kafka_coordinates_too(
    settings: Settings, landed: int, lake: duckdb.DuckDBPyConnection
) -> None:
    """One column an Avro field, plus `_partition`, `_offset`, `_ts`; zstd."""
    paths = [file.path for file in landed_files(settings)]
    columns = dict(
        lake.execute(
            "SELECT column_name, column_type FROM (DESCRIBE FROM read_parquet($files,"
            " hive_partitioning := false))",
            {"files": paths},
        ).fetchall()
    )
    fields = [field["name"] for field in toot_schema()["fields"]]
    assert list(columns) == [*fields, "_offset", "_partition", "_ts"]
    assert columns["created_at"].startswith("TIMESTAMP")
    assert columns["tag_names"] == "VARCHAR[]"
    codecs = lake.execute(
        "SELECT DISTINCT compression FROM parquet_metadata($files)", {"files": paths}
    ).fetchall()
    assert codecs == [("ZSTD",)]


def test_nothing_is_missing(
    settings: Settings, landed: int, lake: duckdb.DuckDBPyConnection
) -> None:
    """Every toot is there, and the check agrees; the tombstone is told from a lost record."""
    paths = [file.path for file in landed_files(settings)]
    uris = lake.execute(
        "SELECT count(DISTINCT uri) FROM read_parquet($files)", {"files": paths}
    ).fetchone()
    assert uris == (landed,)
    found = landing_completeness(settings, lake)
    assert found.complete
    assert found.landed >= landed
    assert found.cannot_land >= 1


def test_connect_gives_no_secret_away(settings: Settings, landed: int, stack: Stack) -> None:
    """Its REST API answers anyone on the machine."""
    with ConnectRest(settings.kafka_connect_url) as connect:
        given = str(connect.config(settings.connector_name))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert stack.environment[name] not in given


def test_applying_again_changes_nothing(settings: Settings, landed: int) -> None:
    """And the job shows the config and the tasks' states, without a secret."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = kafka_connect_config.execute_in_process(instance=instance)
    shown = [
        event.step_output_data.metadata
        for event in result.all_events
        if event.event_type is dg.DagsterEventType.STEP_OUTPUT
    ]
    assert shown[0]["changed"].value == "nothing"
    assert shown[0]["state"].value == "connector RUNNING, task 0 RUNNING"
    assert shown[0]["config"].value == connector_config(settings)
    secret = settings.aws_secret_access_key
    assert secret is not None
    assert secret.get_secret_value() not in str(shown)


def test_a_bad_record_is_dead_lettered_and_the_sink_goes_on(
    settings: Settings, landed: int, lake: duckdb.DuckDBPyConnection
) -> None:
    """It is in the dead-letter topic by its offset, and the check counts it as accounted for.

    As the last of its partition it never gets committed, and yet the sink does not stand still.
    """
    before = {place.partition: place.end for place in sink_progress(settings)}
    produce_bytes(settings, b"this is no Avro", partition=1)
    eventually(lambda: (1, before[1]) in dead_lettered(settings), "the bad record is dead-lettered")
    committed = sum(place.committed for place in sink_progress(settings))
    health = connector_health(settings, Watermark(committed, LONG_AGO), now=LONG_AGO + 3_600)
    assert health.state is SinkState.HEALTHY
    produce(settings, toots(100, FIRST, HOURS))
    caught_up(settings)
    found = landing_completeness(settings, lake)
    assert found.complete
    assert found.dead_lettered == 1


def test_records_that_wait_too_long_are_a_standstill(settings: Settings, landed: int) -> None:
    """RUNNING tasks that commit nothing while records wait: seen by the watermark alone.

    Looked at right after producing, and again where the sink's commit came in between.
    """

    def stands_still() -> bool:
        committed = sum(place.committed for place in sink_progress(settings))
        produce(settings, toots(10, FIRST, HOURS))
        health = connector_health(settings, Watermark(committed, LONG_AGO), LONG_AGO + 3_600)
        assert "task 0 RUNNING" in health.detail
        return (
            health.state is SinkState.STANDING_STILL
            and "none committed for 3600 s" in health.detail
        )

    eventually(stands_still, "records wait and the watermark does not move")


def test_a_deleted_connector_is_made_again_and_goes_on_where_it_was(
    settings: Settings, landed: int, lake: duckdb.DuckDBPyConnection
) -> None:
    """The supervisor asks for the job, the job repairs, and nothing is missing."""
    with ConnectRest(settings.kafka_connect_url) as connect:
        connect.delete(settings.connector_name)
    produce(settings, toots(100, FIRST, HOURS))
    with dg.DagsterInstance.ephemeral() as instance:
        tick = connector_supervisor(dg.build_sensor_context(instance=instance))
        assert isinstance(tick, dg.SensorResult)
        assert tick.run_requests is not None
        (request,) = tick.run_requests
        result = kafka_connect_config.execute_in_process(
            instance=instance, run_config=request.run_config
        )
        assert result.success
        caught_up(settings)
        rested = connector_supervisor(
            dg.build_sensor_context(instance=instance, cursor=tick.cursor)
        )
    assert isinstance(rested, dg.SensorResult)
    assert "saw: healthy" in str(rested.skip_reason)
    assert landing_completeness(settings, lake).complete


def test_a_drifted_config_is_put_right(settings: Settings, landed: int) -> None:
    """What somebody changed over REST is noticed, named and undone."""
    wanted = connector_config(settings)
    with ConnectRest(settings.kafka_connect_url) as connect:
        connect.put_config(settings.connector_name, wanted | {"tasks.max": "2"})
        assert connector_health(settings, None, 0).state is SinkState.DRIFTED
        applied = apply_connector_config(settings, print)
        assert applied.changed == ("tasks.max",)
        assert connect.config(settings.connector_name) == wanted


def test_a_config_that_connect_rejects_is_told_key_by_key(settings: Settings, landed: int) -> None:
    """And the running connector stays as it was."""
    wrong = connector_config(settings) | {"errors.tolerance": "some"}
    with pytest.raises(LandingError, match=r"errors\.tolerance: .*infra/connect") as rejected:
        apply_connector_config(settings, print, wanted=wrong)
    assert "\n" not in str(rejected.value)
    assert connector_health(settings, None, 0).state is not SinkState.DRIFTED


def test_a_task_that_cannot_start_is_told_with_its_root_cause(
    settings: Settings, landed: int
) -> None:
    """The trace on one line, and the setting to look at."""
    wrong = settings.model_copy(
        update={
            "connector_name": "landing-broken-sink",
            "iceberg_catalog_uri": "jdbc:sqlite:file:/no/such/directory/catalog.db",
        }
    )
    try:
        with pytest.raises(LandingError, match=r"task \d failed: .*ICEBERG_CATALOG_URI") as told:
            apply_connector_config(wrong, print)
    finally:
        with ConnectRest(settings.kafka_connect_url) as connect:
            connect.delete("landing-broken-sink")
    assert "\n" not in str(told.value)


def test_a_planted_hole_is_found(
    settings: Settings, landed: int, lake: duckdb.DuckDBPyConnection
) -> None:
    """An hour that vanishes from the bucket is missed record by record, in Dagster's check too.

    The whole hour, since the sink may have written a record twice.
    """
    caught_up(settings)
    bucket = settings.s3_bucket
    files = landed_files(settings)
    paths = [file.path for file in files if file.hour == files[0].hour]
    gone = set(
        lake.execute(
            "SELECT _partition, _offset FROM read_parquet($files)", {"files": paths}
        ).fetchall()
    )
    with closing(s3_client(settings)) as s3:
        contents = {
            key: s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            for key in (path.removeprefix(f"s3://{bucket}/") for path in paths)
        }
        try:
            for key in contents:
                s3.delete_object(Bucket=bucket, Key=key)
            found = landing_completeness(settings, lake)
            evaluation = check_in_dagster()
        finally:
            for key, content in contents.items():
                s3.put_object(Bucket=bucket, Key=key, Body=content)
    assert found.missing == len(gone)
    assert set(found.examples) == gone
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.ERROR
    assert evaluation.metadata["missing"].value == len(gone)
    assert check_in_dagster().passed


def check_in_dagster() -> dg.AssetCheckEvaluation:
    """Runs the check's job and returns what it found."""
    from mastodon_pipeline.landing.definitions import definitions

    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_job_def(landed_toots_check.name)
        result = job.execute_in_process(instance=instance)
        (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


def test_the_observation_tells_what_has_landed(
    settings: Settings, landed: int, lake: duckdb.DuckDBPyConnection
) -> None:
    """Files, rows, bytes, hours, the newest toot and the lag stand at the asset."""
    caught_up(settings)
    counted = landed_toots(settings, lake)
    with dg.DagsterInstance.ephemeral() as instance:
        observe_landed_toots.execute_in_process(
            instance=instance, resources={"lake": LakeResource()}
        )
        (record,) = instance.fetch_observations(dg.AssetKey("landed_toots"), limit=1).records
    observation = record.asset_observation
    assert observation is not None
    assert observation.metadata["dagster/row_count"].value == counted.rows >= landed
    assert observation.metadata["files"].value == counted.files
    assert observation.metadata["bytes"].value == counted.bytes > 0
    assert observation.metadata["hours"].value == HOURS
    assert observation.metadata["sink_lag"].value == 0
    last = FIRST + timedelta(hours=HOURS)
    assert counted.newest_toot is not None
    assert last - timedelta(minutes=1) < counted.newest_toot < last


def test_wrong_keys_are_one_line_that_names_the_variables(settings: Settings) -> None:
    """MinIO refuses them; the line says which variables to look at, and not what is in them."""
    wrong = load_settings(aws_secret_access_key="not-the-secret")
    with pytest.raises(LandingError, match="AWS_SECRET_ACCESS_KEY") as refused:
        ensure_bucket(wrong)
    assert "not-the-secret" not in str(refused.value)
    assert "\n" not in str(refused.value)
