"""Exceptions at the awaits of one server's follower, as a defect of ours or of a library's."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Generator
from functools import wraps
from typing import Any

import pytest

from mastodon_pipeline.errors import Refused, Unreachable
from mastodon_pipeline.listening.following.comparison import StreamComparison
from mastodon_pipeline.listening.following.follower import ServerFollower
from mastodon_pipeline.listening.following.gaps import GapFiller

_EXCEPTIONS: tuple[Callable[[], BaseException], ...] = (
    lambda: RuntimeError("sabotage"),
    lambda: KeyError("sabotage"),
    lambda: ValueError("sabotage"),
    lambda: OSError(104, "sabotage"),
    lambda: RecursionError("sabotage"),
    lambda: MemoryError("sabotage"),
    lambda: TimeoutError("sabotage"),
    lambda: Unreachable("sabotage"),
    lambda: Refused(500, "sabotage"),
    lambda: UnicodeEncodeError("utf-8", "\ud800", 0, 1, "sabotage"),
    # A library's own cancellation that leaks.
    lambda: asyncio.CancelledError("sabotage"),
)


class Saboteur:
    """Throws exceptions into the coroutines that follow one server, where they wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.random = random.Random(0)
        self.victim = ""
        """The base URL; '' for none."""
        self.share = 0.0
        """Of the waits that end with an exception."""
        self.thrown = 0
        for name in ("run", "recheck_mode"):
            self._patch(monkeypatch, ServerFollower, name, lambda f: f.server.base_url)
        for owner, name in ((GapFiller, "_run"), (StreamComparison, "run")):
            self._patch(
                monkeypatch, owner, name, lambda task: task._recorder.statistics.server.base_url
            )

    def _patch(
        self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, url: Callable[[Any], str]
    ) -> None:
        original = getattr(owner, name)

        @wraps(original)
        async def sabotaged(target: Any, *arguments: Any) -> Any:
            return await _Sabotaged(original(target, *arguments), self, url(target))

        monkeypatch.setattr(owner, name, sabotaged)

    def exception_for(self, base_url: str) -> BaseException | None:
        """Return what a wait of this server's is to end with, or None."""
        if base_url != self.victim or self.random.random() >= self.share:
            return None
        self.thrown += 1
        return self.random.choice(_EXCEPTIONS)()


class _Sabotaged:
    """Awaits a coroutine; in place of some waits it throws an exception into it."""

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], saboteur: Saboteur, base_url: str
    ) -> None:
        self._coroutine = coroutine
        self._saboteur = saboteur
        self._base_url = base_url

    def __await__(self) -> Generator[Any, Any, Any]:
        resume: Callable[[], Any] = lambda: self._coroutine.send(None)  # noqa: E731
        while True:
            try:
                waited_for = resume()
            except StopIteration as done:
                return done.value
            exception = self._saboteur.exception_for(self._base_url)
            if exception is None:
                try:
                    yield waited_for
                except BaseException as error:
                    exception = error
            elif waited_for is not None:
                waited_for._asyncio_future_blocking = False  # Nobody waits for it any more.
            if exception is None:
                resume = lambda: self._coroutine.send(None)  # noqa: E731
            else:
                thrown = exception
                resume = lambda: self._coroutine.throw(thrown)  # noqa: B023, E731
