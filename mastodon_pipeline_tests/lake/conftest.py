"""Settings whose services do not answer."""

import pytest

from mastodon_pipeline.settings import Settings, load_settings


@pytest.fixture
def settings() -> Settings:
    """Known keys, and addresses at which nothing listens."""
    return load_settings(
        s3_endpoint="http://127.0.0.1:1",
        aws_access_key_id="an-access-key",
        aws_secret_access_key="a-secret-key",
    )
