"""A bucket of the native stack that one test has for itself."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from mastodon_pipeline.lake.bucket import ensure_bucket, s3_client
from mastodon_pipeline.settings import Settings, load_settings


@contextmanager
def temporary_bucket(purpose: str, environment: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Create a bucket, name it in the environment, and delete it afterwards."""
    environment.setenv("S3_BUCKET", f"{purpose}-test-{os.getpid()}")
    settings = load_settings()
    bucket = settings.s3_bucket
    ensure_bucket(settings)
    yield settings
    with closing(s3_client(settings)) as s3:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for item in page.get("Contents", []):
                s3.delete_object(Bucket=bucket, Key=item["Key"])
        s3.delete_bucket(Bucket=bucket)
