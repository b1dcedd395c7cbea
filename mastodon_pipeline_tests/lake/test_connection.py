"""DuckDB over the object store: what it needs, and what it never shows."""

import os
from pathlib import Path

import pytest

from mastodon_pipeline.errors import ObjectStoreUnavailable, SettingsError
from mastodon_pipeline.lake.bucket import ensure_bucket, s3_credentials
from mastodon_pipeline.lake.connection import connect_lake
from mastodon_pipeline.lake.resource import LakeResource
from mastodon_pipeline.settings import Settings, load_settings


def test_keys_are_never_shown(settings: Settings) -> None:
    """Neither by DuckDB's list of secrets nor by a printed value. Shows G20."""
    with connect_lake(settings) as lake:
        secrets = str(lake.execute("FROM duckdb_secrets()").fetchall())
    assert "a-secret-key" not in secrets
    assert "a-secret-key" not in repr(s3_credentials(settings))


def test_keys_in_the_environment_stay_out_of_duckdbs_settings(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """httpfs copies them there when it is loaded, where any query could read them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "an-environment-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "an-environment-secret")
    with connect_lake(settings) as lake:
        shown = str(lake.execute("FROM duckdb_settings()").fetchall())
    assert "an-environment" not in shown


def test_connection_has_bounded_memory_and_is_in_utc(settings: Settings) -> None:
    """2 GB, and times are shown in UTC whatever the machine's zone."""
    with connect_lake(settings) as lake:
        zone, memory = lake.execute(
            "SELECT current_setting('TimeZone'), current_setting('memory_limit')"
        ).fetchone() or ("", "")
    assert zone == "UTC"
    assert memory == "1.8 GiB"


@pytest.mark.thorough
def test_each_connection_spills_to_its_own_private_directory(settings: Settings) -> None:
    """DuckDB crashes if two processes share one. It holds toots, so only its owner can read it."""
    spilled = []
    for _ in range(2):
        with connect_lake(settings) as lake:
            lake.execute("SET memory_limit = '30MB'")
            lake.execute(
                "CREATE TABLE toot AS SELECT md5(i::VARCHAR) AS uri FROM range(1000000) t (i)"
            )
            (where,) = lake.sql("SELECT current_setting('temp_directory')").fetchone() or ("",)
            assert any(Path(where).iterdir())
            assert Path(where).parent.stat().st_mode & 0o077 == 0
        assert not Path(where).exists()
        spilled.append(where)
    assert len(set(spilled)) == 2


def test_resource_has_no_keys_in_its_configuration() -> None:
    """Dagster stores and shows the configuration."""
    assert "secret" not in str(LakeResource().model_dump()).lower()


def test_missing_credentials_are_one_line_that_names_the_fix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is set, and there is no role or profile."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    settings = load_settings(aws_access_key_id=None, aws_secret_access_key=None)
    with pytest.raises(SettingsError, match=r"make up.*AWS_ACCESS_KEY_ID"):
        connect_lake(settings)


def test_endpoint_that_is_no_address_is_reported(settings: Settings) -> None:
    """`127.0.0.1:9000` lacks its scheme."""
    wrong = settings.model_copy(update={"s3_endpoint": "127.0.0.1:9000"})
    with pytest.raises(SettingsError, match="S3_ENDPOINT"):
        connect_lake(wrong)


def test_unreachable_object_store_is_one_line_that_names_the_fix(settings: Settings) -> None:
    with pytest.raises(ObjectStoreUnavailable, match=r"make up.*S3_ENDPOINT"):
        ensure_bucket(settings)


def test_invalid_bucket_name_is_reported(settings: Settings) -> None:
    """Before anything is sent."""
    wrong = settings.model_copy(update={"s3_bucket": "not a bucket"})
    with pytest.raises(SettingsError, match="S3_BUCKET"):
        ensure_bucket(wrong)
