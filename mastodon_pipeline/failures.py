"""The pipeline's errors as Dagster shows them: a failed step with one line, not a stack trace."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import duckdb

from mastodon_pipeline.errors import PipelineError, ServiceUnavailable


@contextmanager
def readable_failures() -> Iterator[None]:
    """Fail the step with the error's own line, which says how to fix it.

    A retry policy, if the step has one, tries again only after an outage or if the lake cannot be
    read: a wrong setting stays wrong.
    """
    try:
        yield
    except PipelineError as error:
        retry = isinstance(error, ServiceUnavailable)
        raise dg.Failure(str(error), allow_retries=retry) from None
    except duckdb.Error as error:
        raise dg.Failure(f"the lake cannot be read: {error}") from None
