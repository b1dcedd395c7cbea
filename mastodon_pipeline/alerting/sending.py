"""The process that sends: `python -m mastodon_pipeline.alerting.sending`, started by `delivery`.

A process and not a thread, since it can be killed whatever a target or a name server does, and
since nothing that Apprise or an HTTP client logs in it can reach a log of ours: URLs are secrets.

It reads batches as JSON on standard input, sends to all targets at once and to each in order, and
prints a line for each message; a target's later messages wait if one is not accepted.
"""

import os
import re
import sys
import threading
from urllib.parse import parse_qs, urlsplit

import apprise
import msgspec
from apprise import NotifyBase, OverflowMode

from mastodon_pipeline.alerting.delivery import Attempt, Batch
from mastodon_pipeline.alerting.rules import Event

_TYPES: dict[Event, apprise.NotifyType] = {
    "began": apprise.NotifyType.FAILURE,
    "over": apprise.NotifyType.SUCCESS,
    "test": apprise.NotifyType.INFO,
}
_ASSET = apprise.AppriseAsset(
    app_id="mastodon_pipeline",
    app_desc="mastodon_pipeline",
    app_url="",
    async_mode=False,
    storage_mode=apprise.PersistentStoreMode.MEMORY,
)


def reason(log: str) -> str:
    """Return why a message was not accepted, in our words: what Apprise logs may name URLs."""
    if status := re.search(r"error=(\d{3})\b", log):
        return f"it answered with HTTP {status[1]}"
    if re.search(r"connect|timeout", log, re.IGNORECASE):
        return "it cannot be reached"
    return "it refused the message"


def send(position: int, batch: Batch, report: "_Report") -> None:
    """Send a batch to its target, until a message is not accepted."""
    plugin = apprise.Apprise.instantiate(batch.url, asset=_ASSET)
    if not isinstance(plugin, NotifyBase):
        report(Attempt(position, "", "it is no URL that Apprise can use"))
        return
    if "overflow" not in parse_qs(urlsplit(batch.url).query):
        plugin.overflow_mode = OverflowMode.SPLIT  # a long message is several, instead of refused
    target = apprise.Apprise(asset=_ASSET)
    target.add(plugin)
    service = str(plugin.service_name)
    for message in batch.messages:
        try:
            result = target.notify(
                body=message.body,
                title=f"mastodon_pipeline: {message.title}",
                notify_type=_TYPES[message.event],
                body_format=apprise.NotifyFormat.TEXT,
            )
        except Exception as error:
            report(Attempt(position, service, f"it failed with {type(error).__name__}"))
            return
        if not result:
            log = " ".join(
                entry.message for part in result for attempt in part for entry in attempt
            )
            report(Attempt(position, service, reason(log)))
            return
        report(Attempt(position, service, ""))


class _Report:
    """Prints attempts, one a line, to what was standard output when the process started."""

    def __init__(self) -> None:
        self._lines = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
        self._lock = threading.Lock()
        # What a plugin prints must not be taken for an attempt.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def __call__(self, attempt: Attempt) -> None:
        with self._lock:
            self._lines.write(msgspec.json.encode(attempt) + b"\n")


def main() -> None:
    """Send what is on standard input, to all targets at once."""
    batches = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Batch])
    report = _Report()
    threads = [
        threading.Thread(target=send, args=(position, batch, report), daemon=True)
        for position, batch in enumerate(batches)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
