"""Errors of ours fail a Dagster step with one line."""

import dagster as dg
import duckdb
import pytest

from mastodon_pipeline.errors import KafkaUnavailable, SettingsError
from mastodon_pipeline.failures import readable_failures


@pytest.mark.parametrize(
    ("error", "description", "retried"),
    [
        (SettingsError("set S3_BUCKET"), "set S3_BUCKET", False),
        (KafkaUnavailable("no broker answers"), "no broker answers", True),
        (duckdb.IOException("no file"), "the lake cannot be read: no file", True),
    ],
)
def test_known_errors_become_one_line_and_only_outages_are_retried(
    error: Exception, description: str, retried: bool
) -> None:
    with pytest.raises(dg.Failure) as failure, readable_failures():
        raise error
    assert failure.value.description == description
    assert failure.value.allow_retries is retried
    assert failure.value.__suppress_context__


def test_unknown_errors_keep_their_stack_trace() -> None:
    with pytest.raises(ZeroDivisionError), readable_failures():
        raise ZeroDivisionError
