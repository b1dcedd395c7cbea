"""The dashboard's keys of the native stack's object store."""

from collections.abc import Callable
from contextlib import closing
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from infra.native_stack import Stack
from infra.native_stack.readers import add_reader
from mastodon_pipeline.dashboard.lake_reader import reading_settings
from mastodon_pipeline.lake.bucket import ensure_bucket, s3_client
from mastodon_pipeline.settings import load_settings


def test_dashboards_keys_read_and_change_nothing(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = f"readers-{uuid4().hex[:8]}"
    monkeypatch.setenv("S3_BUCKET", bucket)
    settings = load_settings()
    ensure_bucket(settings)
    with (
        closing(s3_client(settings)) as owner,
        closing(s3_client(reading_settings(settings))) as s3,
    ):
        owner.put_object(Bucket=bucket, Key="toots/a", Body=b"a")
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
        assert s3.get_object(Bucket=bucket, Key="toots/a")["Body"].read() == b"a"
        refused: list[Callable[[], object]] = [
            lambda: s3.put_object(Bucket=bucket, Key="toots/b", Body=b"b"),
            lambda: s3.put_object(Bucket=bucket, Key="toots/a", Body=b"b"),
            lambda: s3.delete_object(Bucket=bucket, Key="toots/a"),
            lambda: s3.create_bucket(Bucket=f"{bucket}-2"),
            lambda: s3.delete_bucket(Bucket=bucket),
            lambda: s3.put_bucket_policy(Bucket=bucket, Policy="{}"),
        ]
        for request in refused:
            with pytest.raises(ClientError) as error:
                request()
            assert error.value.response["Error"]["Code"] == "AccessDenied"


def test_reader_is_added_again_without_harm(stack: Stack) -> None:
    add_reader(stack.environment)
    add_reader(stack.environment)
