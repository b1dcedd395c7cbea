"""Telling our own cancellation of a task from one that leaks out of a library."""

import asyncio


def is_cancelled() -> bool:
    """Return whether somebody has cancelled the current task.

    If not, a CancelledError is a defect like any other exception: taken for an end it would end the
    following of a server without a word.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
