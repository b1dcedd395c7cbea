"""Every error of the pipeline, in one tree.

    PipelineError                 one line for a person: what is wrong, and how to fix it
    ├── SettingsError             a setting is missing or wrong; the line names it
    ├── ServiceUnavailable        a service of ours does not answer, or refuses us
    │   ├── KafkaUnavailable
    │   ├── RegistryUnavailable
    │   ├── ConnectUnavailable
    │   ├── ObjectStoreUnavailable
    │   │   └── BucketMissing     nothing has created the bucket yet
    │   ├── CatalogUnavailable
    │   └── HistoryUnavailable    Dagster's database does not answer
    ├── SchemaIncompatible        the registry refuses a schema that could not read older records
    ├── TopicMissing              a topic that nothing has created yet
    ├── ConnectorError            Kafka Connect answers, and the sink cannot run
    │   └── ConnectRefused        Kafka Connect answers with an HTTP error
    ├── DeliveryFailed            Kafka did not acknowledge what was sent
    │   └── TopicReplaced         Kafka has lost what it had acknowledged
    ├── ReplayError               files that cannot be replayed
    ├── PastUnreadable            a server whose earlier toots cannot be read
    ├── LoginFailed               a server gave no token
    ├── TableError                a table that cannot be built
    │   └── RecordsGone           an hour's landed files and its toots are both gone
    ├── MoveError                 what cannot be copied into a database
    ├── MaintenanceError          maintenance that may not go on
    ├── LedgerError               a ledger that cannot be read, or a loss that it does not have
    ├── ListeningFailed           `mastodon-pipeline listen` ends, since nothing comes
    ├── QueryFailed               a SQL statement that is wrong or cannot be run
    └── Interrupted               Ctrl-C, with a line about the work that is left

    ServerError                   another server misbehaves; the listener handles it, by its kind
    ├── Refused                   it answers with an HTTP error
    ├── Unreachable               it gives no usable answer
    │   └── NoMastodonApi         it answers, but not as Mastodon's API does
    ├── UnsafeAddress             it names an address that no public server has
    └── CrossHostRedirect         it sends us to another host
        └── ApiElsewhere          it is the domain of accounts whose API is at another host

    InvalidRecord                 a payload that cannot be recorded: it goes to the dead letters
    ├── UndecodableStatus
    └── UnrecordableToot

An outage is not a wrong setting: commands exit with 2 for a `SettingsError`, with 130 for
`Interrupted` and with 1 for everything else (cli/main.py); a supervisor waits for a service, but
not for a person.
"""

import re
from collections.abc import Mapping

from mastodon_pipeline.foreign_text import clean_line

_MAX_MESSAGE_CHARACTERS = 4000
"""Of a server's error that are looked at."""
_CREDENTIALS = re.compile(
    r"(?<=://)[^\s/?#'\"<>@]*(?:@[^\s/?#'\"<>@]*)*@"  # user:password@ of a URL
    r"|(?<![\w/.@-])[\w.%+-]+:[^\s/:@]+@(?=[\w.-]+:\d)"  # of an address without a scheme
    r"|(?<=[?&;]password=)[^\s&;'\"]+",  # of a JDBC address
    re.IGNORECASE,
)


def without_credentials(text: str) -> str:
    """Return the text with `***` in place of the user and password of each address in it."""
    return _CREDENTIALS.sub(lambda match: "***@" if match[0].endswith("@") else "***", text)


def _server_line(text: str) -> str:
    return clean_line(without_credentials(text[:_MAX_MESSAGE_CHARACTERS]))


def one_line(error: OSError | UnicodeError) -> str:
    """Return what the operating system refused, or which text cannot be read, in one line."""
    if isinstance(error, OSError):
        names = " -> ".join(str(name) for name in (error.filename, error.filename2) if name)
        reason = error.strerror or str(error) or type(error).__name__
        return without_credentials(f"{names}: {reason}" if names else reason)
    return f"a text is not UTF-8 ({error})"


class _ScrubbedError(Exception):
    """An error whose message holds no credentials: of a proxy, or of a service's address."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(
            *(without_credentials(each) if isinstance(each, str) else each for each in arguments)
        )


class PipelineError(_ScrubbedError):
    """Something that a person can act on; the message is one line that says how.

    Credentials in an address are left out of it.
    """

    exit_code = 1
    """The exit code of a command that ends with it."""


class SettingsError(PipelineError):
    """A setting is missing or wrong; the message names it."""

    exit_code = 2


class ServiceUnavailable(PipelineError):
    """A service of ours does not answer, or refuses us; the message says where."""


class KafkaUnavailable(ServiceUnavailable):
    """No broker answers in time, or it refuses us."""


class RegistryUnavailable(ServiceUnavailable):
    """The schema registry does not answer."""


class ConnectUnavailable(ServiceUnavailable):
    """Kafka Connect does not answer."""


class ObjectStoreUnavailable(ServiceUnavailable):
    """The object store does not answer, or refuses the credentials or the bucket."""


class BucketMissing(ObjectStoreUnavailable):
    """The bucket does not exist yet; the message says what creates it."""


class CatalogUnavailable(ServiceUnavailable):
    """The Iceberg catalog cannot be read, or refuses a commit."""


class HistoryUnavailable(ServiceUnavailable):
    """Dagster's database does not answer, or refuses us."""


class SchemaIncompatible(PipelineError):
    """The registry refuses the schema: readers with it could not read older records."""


class TopicMissing(PipelineError):
    """A topic was never created; the message says what creates it."""


class ConnectorError(PipelineError):
    """The sink connector cannot run as configured."""


class ConnectRefused(ConnectorError):
    """Kafka Connect answered with an HTTP error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status."""


class DeliveryFailed(PipelineError):
    """Records could not be delivered; they are read again from the last position."""


class TopicReplaced(DeliveryFailed):
    """The topic was made again: Kafka no longer has what it had acknowledged."""


class ReplayError(PipelineError):
    """The files are missing, are not Parquet, or hold something else; the message says which."""


class PastUnreadable(PipelineError):
    """A server does not show its earlier toots; the message says why."""


class LoginFailed(PipelineError):
    """A server gave no token; the message says why."""


class TableError(PipelineError):
    """A table cannot be built; the message names the command that fixes it."""


class RecordsGone(TableError):
    """An hour's landed files were removed, and the toots made from them are gone too."""


class MoveError(PipelineError):
    """SQLite files cannot be copied into a database; the message says why."""


class MaintenanceError(PipelineError):
    """Maintenance may not start or go on: another one is at work, or a file cannot be removed."""


class LedgerError(PipelineError):
    """The ledger cannot be read, or has no such loss; the message says what to do."""


class ListeningFailed(PipelineError):
    """A server cannot be listened to, or has sent nothing for too long; the message says which."""


class QueryFailed(PipelineError):
    """A SQL statement is wrong or cannot be run; the message is DuckDB's, in one line."""


class Interrupted(PipelineError):
    """A person pressed Ctrl-C; the message says what becomes of the work."""

    exit_code = 130


class ServerError(_ScrubbedError):
    """A server that is listened to misbehaves. It costs that server alone.

    The message may hold words of the server's: it is one clean line of bounded length, and
    credentials in an address are left out of it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_server_line(message))


class Refused(ServerError):
    """A server answered, but with an HTTP error."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.reason = _server_line(reason)
        super().__init__(f"{status} {self.reason}")
        self.headers: Mapping[str, str] = headers or {}

    @property
    def is_bot_wall(self) -> bool:
        """Whether something before the server refuses us: it sends a page where an API has JSON."""
        return self.status == 403 and "html" in self.headers.get("Content-Type", "").lower()


class RefusedByRobots(Refused):
    """A host's robots.txt asks us to stay away; nothing was requested."""

    def __init__(self, reason: str) -> None:
        super().__init__(451, reason)

    def __str__(self) -> str:
        return self.reason


class Unreachable(ServerError):
    """A server gave no usable answer: DNS, TCP, TLS, a timeout, or bytes that make no sense."""


class RobotsUnreadable(Unreachable):
    """A host's robots.txt cannot be read, which refuses everything for now."""


class NoMastodonApi(Unreachable):
    """A server answers, but not as Mastodon's API does: with a page for people, for example."""


class UnsafeAddress(ServerError):
    """An address that no public server has: not https, or not a public IP address."""


class CrossHostRedirect(ServerError):
    """A server redirects to another host; a moved server is for a person to configure."""

    def __init__(self, message: str, target: str = "") -> None:
        super().__init__(message)
        self.target = target
        """The URL to which it redirects, as the server wrote it."""


class ApiElsewhere(CrossHostRedirect):
    """A host without an API is the domain of accounts whose API is elsewhere; the message says."""


class InvalidRecord(ValueError):
    """A payload that cannot become a record of the topic; it goes to the dead letters."""


class UndecodableStatus(InvalidRecord):
    """A payload that is no status, even read tolerantly; the message says what is missing."""


class UnrecordableToot(InvalidRecord):
    """A record that does not fit the schema, or a Kafka message."""
