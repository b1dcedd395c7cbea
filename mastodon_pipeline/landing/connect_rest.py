"""A client of Kafka Connect's REST API: the calls that the pipeline uses.

Where several workers share a group, each of them answers for all of it.

See: https://kafka.apache.org/documentation/#connect_rest
"""

import ssl
import time
from contextlib import suppress
from functools import cache
from types import TracebackType
from typing import Self

import httpx
import msgspec

from mastodon_pipeline.errors import ConnectRefused, ConnectUnavailable
from mastodon_pipeline.paths import stack_file
from mastodon_pipeline.settings import Settings
from mastodon_pipeline.tls import certificate_problem, tls_context

FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 2.0
REBALANCING = "a rebalance is expected"
"""In Connect's answer while its workers agree on who does what."""


class _State(msgspec.Struct, frozen=True):
    state: str
    worker_id: str = ""
    trace: str = ""


class TaskStatus(_State, frozen=True):
    """A task: its state (RUNNING, FAILED, UNASSIGNED, ...) and, if it failed, the stack trace."""

    id: int = -1


class ConnectorStatus(msgspec.Struct, frozen=True):
    """A connector and its tasks."""

    name: str
    connector: _State
    tasks: tuple[TaskStatus, ...] = ()

    @property
    def running(self) -> bool:
        """Whether the connector runs, has tasks, and all of them run."""
        return (
            self.connector.state == "RUNNING"
            and bool(self.tasks)
            and all(task.state == "RUNNING" for task in self.tasks)
        )

    @property
    def failures(self) -> dict[str, str]:
        """The Java stack trace of each part that failed: of `connector` or of `task 0`."""
        failed = {"connector": self.connector} if self.connector.state == "FAILED" else {}
        failed |= {f"task {task.id}": task for task in self.tasks if task.state == "FAILED"}
        return {name: state.trace for name, state in failed.items()}

    @property
    def summary(self) -> str:
        """One line: `connector RUNNING, task 0 RUNNING, task 1 FAILED`."""
        tasks = [f"task {task.id} {task.state}" for task in self.tasks] or ["no tasks yet"]
        return ", ".join([f"connector {self.connector.state}", *tasks])


class _Plugin(msgspec.Struct):
    class_: str = msgspec.field(name="class")


class _ValidatedValue(msgspec.Struct):
    name: str
    errors: tuple[str, ...] = ()


class _ValidatedKey(msgspec.Struct):
    value: _ValidatedValue


class _Validation(msgspec.Struct):
    configs: tuple[_ValidatedKey, ...] = ()


class _Error(msgspec.Struct):
    message: str = ""


class ConfigProblem(msgspec.Struct, frozen=True):
    """A key of a configuration, and Connect's objection to its value."""

    key: str
    message: str


class ConnectRest:
    """Kafka Connect, at the addresses of its workers; use as a context manager.

    The worker that answered last is asked first, and another one only if it does not answer. One
    that is rebalancing answers 409: the call is repeated for `deadline_seconds`.
    Every method raises ConnectUnavailable or ConnectRefused.
    """

    def __init__(
        self,
        *urls: str,
        login: tuple[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        timeout_seconds: float = 10.0,
        deadline_seconds: float = 60.0,
    ) -> None:
        """Open nothing yet; `login` is user and password, `tls` trusts the system's authorities."""
        self._urls = [url.rstrip("/") for url in urls]
        self.url = ",".join(self._urls)
        self._deadline_seconds = deadline_seconds
        self._http = httpx.Client(
            auth=login, verify=tls or _system_authorities(), timeout=timeout_seconds
        )

    @classmethod
    def of(
        cls, settings: Settings, *, timeout_seconds: float = 10.0, deadline_seconds: float = 60.0
    ) -> Self:
        """Return a client of the Kafka Connect in the settings."""
        return cls(
            *settings.connect_urls,
            login=settings.connect_login,
            tls=tls_context(settings),
            timeout_seconds=timeout_seconds,
            deadline_seconds=deadline_seconds,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def plugins(self) -> frozenset[str]:
        """Return the classes of the connectors that the worker can run."""
        answer = self._send("GET", "/connector-plugins")
        plugins = msgspec.json.decode(answer, type=tuple[_Plugin, ...])
        return frozenset(plugin.class_ for plugin in plugins)

    def validate(self, config: dict[str, str]) -> tuple[ConfigProblem, ...]:
        """Return Connect's objections to this configuration, which must have a `name`."""
        path = f"/connector-plugins/{config['connector.class']}/config/validate"
        validation = msgspec.json.decode(self._send("PUT", path, config), type=_Validation)
        return tuple(
            ConfigProblem(key.value.name, error)
            for key in validation.configs
            for error in key.value.errors
        )

    def config(self, name: str) -> dict[str, str] | None:
        """Return the configuration of a connector, or None if there is no such connector."""
        answer = self._find("GET", f"/connectors/{name}/config")
        return None if answer is None else msgspec.json.decode(answer, type=dict[str, str])

    def put_config(self, name: str, config: dict[str, str]) -> None:
        """Create the connector, or give the running one this configuration."""
        self._send("PUT", f"/connectors/{name}/config", config)

    def status(self, name: str) -> ConnectorStatus | None:
        """Return the state of a connector and its tasks, or None if there is no such connector."""
        answer = self._find("GET", f"/connectors/{name}/status")
        return None if answer is None else msgspec.json.decode(answer, type=ConnectorStatus)

    def restart(self, name: str, *, only_failed: bool = True) -> None:
        """Restart the connector and its tasks: those that failed, or all of them."""
        only = "true" if only_failed else "false"
        self._send("POST", f"/connectors/{name}/restart?includeTasks=true&onlyFailed={only}")

    def delete(self, name: str) -> bool:
        """Remove a connector; return whether there was one.

        Its consumer group's offsets stay, so a connector created again continues where it was.
        """
        return self._find("DELETE", f"/connectors/{name}") is not None

    def _find(self, method: str, path: str) -> bytes | None:
        try:
            return self._send(method, path)
        except ConnectRefused as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise

    def _send(self, method: str, path: str, body: dict[str, str] | None = None) -> bytes:
        give_up = time.monotonic() + self._deadline_seconds
        wait = FIRST_WAIT_SECONDS
        while True:
            try:
                answer = self._ask(method, path, body)
            except httpx.HTTPError as error:
                raise ConnectUnavailable(
                    f"Kafka Connect at {self.url} cannot be trusted: {problem}"
                    if (problem := certificate_problem(error))
                    else f"Kafka Connect at {self.url} does not answer "
                    f"({error or type(error).__name__}): start the native stack with `make up`, "
                    "or set KAFKA_CONNECT_URL"
                ) from None
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                raise ConnectUnavailable(
                    f"Kafka Connect at {self.url} refuses the password: check"
                    " KAFKA_CONNECT_USERNAME and KAFKA_CONNECT_PASSWORD (the native stack keeps"
                    f" its own in {stack_file()})"
                )
            if answer.is_success:
                return answer.content
            # A question for the connector's config is answered with 500 then, not with 409.
            rebalancing = answer.status_code == httpx.codes.CONFLICT or (
                answer.is_server_error and REBALANCING in answer.text
            )
            if not rebalancing or time.monotonic() + wait > give_up:
                raise ConnectRefused(answer.status_code, self._refusal(answer))
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    def _ask(self, method: str, path: str, body: dict[str, str] | None) -> httpx.Response:
        """Return a worker's answer; raises the httpx.HTTPError of the last one if none answers."""
        for _ in self._urls[1:]:
            with suppress(httpx.HTTPError):
                return self._http.request(method, f"{self._urls[0]}{path}", json=body)
            self._urls.append(self._urls.pop(0))
        return self._http.request(method, f"{self._urls[0]}{path}", json=body)

    def _refusal(self, answer: httpx.Response) -> str:
        """Return Connect's own message, on one line."""
        try:
            message = msgspec.json.decode(answer.content, type=_Error).message
        except msgspec.DecodeError:
            message = answer.text
        request = f"{answer.request.method} {answer.request.url.path}"
        reason = " ".join(message.split())[:500] or answer.reason_phrase
        return f"Kafka Connect at {self.url} refuses {request} ({answer.status_code}): {reason}"


@cache
def _system_authorities() -> ssl.SSLContext:
    """Read the system's authorities once a process: it takes 20 ms of CPU, more than most calls."""
    return httpx.create_ssl_context()
