"""One maintenance at a time, by a lock in the object store."""

import json
import os
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from infra.native_stack import Stack
from mastodon_pipeline.errors import MaintenanceError
from mastodon_pipeline.lake.bucket import ensure_bucket, s3_client
from mastodon_pipeline.maintenance.lock import ABANDONED_AFTER, RENEWED_EVERY, hold_lock
from mastodon_pipeline.settings import load_settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.integration
BUCKET = f"lock-test-{os.getpid()}"


@pytest.fixture
def s3(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator["S3Client"]:
    """A client, and an empty bucket."""
    monkeypatch.setenv("S3_BUCKET", BUCKET)
    settings = load_settings()
    ensure_bucket(settings)
    with closing(s3_client(settings)) as client:
        yield client


def test_a_second_maintenance_is_refused_and_told_who_is_at_work(s3: "S3Client") -> None:
    """And may begin when the first has ended, in whichever way."""
    with hold_lock(s3, BUCKET):
        second = hold_lock(s3, BUCKET)
        with pytest.raises(MaintenanceError, match=f"process {os.getpid()}"):
            second.__enter__()
    with suppress(ZeroDivisionError), hold_lock(s3, BUCKET):
        raise ZeroDivisionError
    with hold_lock(s3, BUCKET):
        pass


def test_an_abandoned_lock_is_taken_over(s3: "S3Client") -> None:
    """Its holder was killed, or sleeps; should it wake up, it stops before it removes anything."""
    start = datetime.now(UTC)
    with hold_lock(s3, BUCKET, lambda: start) as sleeper:
        later = start + ABANDONED_AFTER + timedelta(seconds=2)
        with hold_lock(s3, BUCKET, lambda: later):
            sleeper.now = lambda: later
            with pytest.raises(MaintenanceError, match="taken over"):
                sleeper.renew()


def test_a_renewed_lock_is_not_abandoned(s3: "S3Client") -> None:
    """However long the maintenance takes."""
    start = datetime.now(UTC)
    with hold_lock(s3, BUCKET, lambda: start) as lock:
        before = s3.get_object(Bucket=BUCKET, Key="removed/maintenance.lock")["Body"].read()
        lock.now = lambda: start + RENEWED_EVERY
        lock.renew()
        after = s3.get_object(Bucket=BUCKET, Key="removed/maintenance.lock")["Body"].read()
        assert json.loads(after)["renewed"] > json.loads(before)["renewed"]
        lock.renew()
