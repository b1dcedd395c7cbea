"""Which mode a server is to be followed in next, from what it says about itself and has refused."""

import logging
import time
from dataclasses import replace

from mastodon_pipeline.errors import Refused, ServerError
from mastodon_pipeline.listening.client.pacing import Timings
from mastodon_pipeline.listening.following.instance import (
    InstanceAnswer,
    InstanceInfo,
    InstanceProbe,
    saved_answer,
)
from mastodon_pipeline.listening.following.mode import (
    NO_REFUSALS,
    STREAM_REFUSALS,
    Mode,
    Refusals,
    after_refusal,
    choose_mode,
    described,
)
from mastodon_pipeline.servers import Server

_log = logging.getLogger(__name__)


class ModeSelector:
    """Remembers one server's instance info for an hour, and the modes that it has refused."""

    def __init__(
        self, server: Server, probe: InstanceProbe, timings: Timings, saved: InstanceInfo | None
    ) -> None:
        """`saved`: the info that an earlier listener saved; used for the first connection."""
        self._server = server
        self._probe = probe
        self._timings = timings
        self._saved = saved
        self._answer: InstanceAnswer | None = None
        self._described: InstanceInfo | None = None
        """What the server said about itself the last time that it could."""
        self._refusals = NO_REFUSALS

    @property
    def info(self) -> InstanceInfo | None:
        """What the server says about itself; None while that is unknown."""
        return self._described

    @property
    def expired(self) -> bool:
        """Whether the instance info is to be fetched again."""
        return self._answer is not None and time.monotonic() >= self._answer.valid_until

    @property
    def has_token(self) -> bool:
        """Whether we have a token for the server."""
        return (self._answer or self._server).token is not None

    async def answer(self) -> InstanceAnswer:
        """Return the server's answer, fetched if there is none or it has expired.

        Raises Refused, UnsafeAddress, CrossHostRedirect as the probe does.
        """
        if self._saved is not None:
            self.accept(saved_answer(self._saved, self._server.token))
            self._saved = None
        known = self._answer
        if known is not None and not self.expired:
            return known
        fetched = await self._probe.fetch(self._server, self._server.token)
        if fetched.failure and self._described is not None:
            # Its API is down, but the known info still leads to its stream or timeline.
            self._answer = replace(fetched, info=self._described, failure="")
            return self._answer
        if known is not None:
            self._refusals = NO_REFUSALS  # An hour later it may accept what it refused.
        self.accept(fetched)
        return fetched

    async def refetch(self) -> InstanceAnswer | None:
        """Fetch the instance info of a server that is being followed; None if that fails.

        The answer counts once it is passed to `accept`; until then the known one is valid.
        """
        if self._answer is None:
            return None
        self._answer = self._extended(self._answer)
        try:
            answer = await self._probe.fetch(self._server, self._server.token)
        except ServerError as error:
            failure = str(error)
        except Exception:
            _log.exception("%s: its instance info cannot be read", self._server.name)
            return None
        else:
            if not answer.failure:
                return answer
            failure = answer.failure
        _log.info("%s: its instance info cannot be fetched: %s", self._server.name, failure)
        return None

    def accept(self, answer: InstanceAnswer) -> None:
        """Choose modes by this answer from now on."""
        self._answer = answer
        if not answer.failure:
            self._described = answer.info
        if answer.token_refusal is not None:
            self._refusals = Refusals(stream=answer.token_refusal)

    def mode(self) -> Mode:
        """Choose the next mode; call it after `answer` or `accept`."""
        assert self._answer is not None
        mode = choose_mode(self._server, self._answer.info, self.has_token, self._refusals)
        return described(mode, self._answer.failure)

    def note_refusal(self, refused: Refused, mode: Mode) -> bool:
        """Note that the server refuses this mode; return whether to choose again.

        Instance info that is not fresh may be outdated: it is fetched again first.
        """
        refusals = after_refusal(self._refusals, mode, refused)
        fetched_at = self._answer.fetched_at if self._answer else time.monotonic()
        stale = time.monotonic() - fetched_at > self._timings.fresh_seconds
        if stale and refused.status in STREAM_REFUSALS:
            self._answer = None
        elif refusals is not None:
            self._refusals = refusals
        else:
            return False
        return True

    def note_stream_refusal(self, refused: Refused) -> None:
        """Choose no stream until the instance info is fetched again."""
        self._refusals = replace(self._refusals, stream=refused)

    def reset(self) -> None:
        """Ask for the instance info again before the next attempt, and forget all refusals."""
        self._answer = None
        self._refusals = NO_REFUSALS

    def _extended(self, answer: InstanceAnswer) -> InstanceAnswer:
        return replace(answer, valid_until=time.monotonic() + self._timings.fresh_seconds)
