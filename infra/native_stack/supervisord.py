"""supervisord that a full disk cannot end: what its logs have no room for is dropped.

The original prints an error of a log to stderr, itself a file on that disk, and dies of the next
error there; or where it rotates a log. python -m infra.native_stack.supervisord -c FILE
"""

from contextlib import suppress

from supervisor import loggers, supervisord  # type: ignore[import-untyped]

_rotate = loggers.RotatingFileHandler.doRollover


def _rotate_if_there_is_room(handler: loggers.RotatingFileHandler) -> None:
    try:
        _rotate(handler)
    except (OSError, ValueError):
        # Rotating closes the file first, and does not open it again if there is no room.
        if handler.stream.closed:
            with suppress(OSError):  # tried again after the next line
                handler.stream = open(handler.baseFilename, "ab")  # noqa: SIM115


def tolerate_full_disks() -> None:
    """Replace what ends supervisord when a log cannot be written."""
    loggers.Handler.handleError = lambda _handler: None
    loggers.RotatingFileHandler.doRollover = _rotate_if_there_is_room


if __name__ == "__main__":
    tolerate_full_disks()
    supervisord.main()
