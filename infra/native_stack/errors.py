"""The native stack's error."""

from mastodon_pipeline.errors import PipelineError


class StackError(PipelineError):
    """The stack cannot start or go on; the message says why and what to do."""

    exit_code = 2
