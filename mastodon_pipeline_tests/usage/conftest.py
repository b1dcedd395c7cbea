"""What the usage stage's tests share."""

import os
from collections.abc import Iterator
from contextlib import closing

import dagster as dg
import pytest

from infra.native_stack import Stack
from mastodon_pipeline.lake.bucket import ensure_bucket, s3_client
from mastodon_pipeline.settings import Settings, load_settings


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A separate Dagster instance, without a daemon."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def bucket(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings for a bucket of this test, which is deleted afterwards."""
    monkeypatch.setenv("S3_BUCKET", f"usage-test-{os.getpid()}")
    settings = load_settings()
    ensure_bucket(settings)
    yield settings
    with closing(s3_client(settings)) as s3:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=settings.s3_bucket)
        for page in pages:
            for item in page.get("Contents", []):
                s3.delete_object(Bucket=settings.s3_bucket, Key=item["Key"])
        s3.delete_bucket(Bucket=settings.s3_bucket)
