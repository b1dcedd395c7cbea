"""The native stack's one error."""

from mastodon_pipeline.errors import PipelineError


class StackError(PipelineError):
    """The stack cannot start or go on; the message says what is wrong and what to do."""

    exit_code = 2
