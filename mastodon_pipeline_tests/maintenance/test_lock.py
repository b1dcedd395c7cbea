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
from mastodon_pipeline.lake.bucket import s3_client
from mastodon_pipeline.maintenance.lock import ABANDONED_AFTER, RENEW_EVERY, hold_lock
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.bucket import temporary_bucket

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = [pytest.mark.integration, pytest.mark.own_stack]


@pytest.fixture
def settings(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of an empty bucket."""
    with temporary_bucket("lock", monkeypatch) as settings:
        yield settings


@pytest.fixture
def s3(settings: Settings) -> Iterator["S3Client"]:
    """A client of the object store."""
    with closing(s3_client(settings)) as client:
        yield client


def lock_content(s3: "S3Client", settings: Settings) -> bytes:
    """Return what the lock's object holds."""
    key = "removed/maintenance.lock"
    return s3.get_object(Bucket=settings.s3_bucket, Key=key)["Body"].read()


def test_second_maintenance_is_refused_with_the_holders_process(
    s3: "S3Client", settings: Settings
) -> None:
    """It may start once the first has ended, or failed. Shows G17."""
    with hold_lock(s3, settings):
        second = hold_lock(s3, settings)
        with pytest.raises(MaintenanceError, match=f"process {os.getpid()}"):
            second.__enter__()
    with suppress(ZeroDivisionError), hold_lock(s3, settings):
        raise ZeroDivisionError
    with hold_lock(s3, settings):
        pass


def test_abandoned_lock_is_taken_over(s3: "S3Client", settings: Settings) -> None:
    """Its holder was killed, or suspended; if resumed, it stops before it removes anything."""
    start = datetime.now(UTC)
    with hold_lock(s3, settings, lambda: start) as suspended:
        later = start + ABANDONED_AFTER + timedelta(seconds=2)
        with hold_lock(s3, settings, lambda: later):
            suspended.now = lambda: later
            with pytest.raises(MaintenanceError, match="taken over"):
                suspended.renew()


def test_renewed_lock_is_not_abandoned(s3: "S3Client", settings: Settings) -> None:
    """However long the maintenance takes."""
    start = datetime.now(UTC)
    with hold_lock(s3, settings, lambda: start) as lock:
        before = lock_content(s3, settings)
        lock.now = lambda: start + RENEW_EVERY
        lock.renew()
        after = lock_content(s3, settings)
        assert json.loads(after)["renewed"] > json.loads(before)["renewed"]
        lock.renew()
