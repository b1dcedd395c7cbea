"""Every setting of the pipeline: environment variables, typed, in one place.

Values come from the environment, then from the files `.env` (yours) and `.data/stack.env`
(written by the native stack: its addresses and MinIO's generated credentials), then from the
defaults below, which match the native stack on its default ports. The same code points at a
managed Kafka and S3 by settings alone.

Both files are beside the checkout's README.md; for an installed package they are in the current
directory.
"""

import math
import os
import re
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.paths import OWN_FILE, data_directory, stack_file
from mastodon_pipeline.proxies import check_proxies
from mastodon_pipeline.servers import Server, parse_server, read_servers_file
from mastodon_pipeline.setting_files import read_variables
from mastodon_pipeline.setting_values import (
    AccessKey,
    AuthoritiesFile,
    Brokers,
    Contact,
    HttpAddress,
    HttpAddresses,
    HttpOrigin,
    JdbcAddress,
    PublicHttpAddress,
    SqlAlchemyAddress,
    UpperCase,
    UserName,
    check_text,
)

PRODUCT = "mastodon-pipeline"
"""The product's name in the User-Agent, and for robots.txt."""


NO_SALT = (
    "PERSON_RETENTION_DAYS is set and PERSON_SALT is not, without which pseudonyms would not be"
    " the same everywhere: set it to the lake's salt (.data/stack.env of the machine that writes"
    " the lake), or for a new lake to a long random text (openssl rand -hex 32), and keep it"
)


class _FilesSource(DotEnvSettingsSource):
    """Reads settings files in the encodings that editors write; a later file wins."""

    def _read_env_files(self) -> Mapping[str, str | None]:
        variables: dict[str, str | None] = {}
        for path in (stack_file(), OWN_FILE):
            for name, value in read_variables(path).items():
                if value:
                    variables[name.lower()] = value
        return variables


class Settings(BaseSettings):
    """What the pipeline listens to, and how its parts are reached.

    Each field is the environment variable of the same name in upper case. Use `load_settings`,
    which raises SettingsError for a wrong variable and names it.
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    mastodon_servers: Annotated[tuple[str, ...], NoDecode] = ()
    """Comma-separated addresses; each server's local feed is followed. None by default."""
    mastodon_servers_file: Path | None = None
    """A TOML file with more servers: `[[servers]]` tables with url, feed, token_env."""
    mastodon_allow_private_addresses: bool = False
    """Follow http:// and loopback or private addresses: only for the simulator and tests."""
    mastodon_contact: Contact = ""
    """Who runs this listener (a page or an address), for the User-Agent that server admins see.
    Asked for when other people's servers are read without it."""
    count_opted_out: bool = True
    """Count the toots of authors who opted out of being indexed, without text, hashtags and name;
    false: do not record them at all."""
    blocklist: Annotated[tuple[Path, ...], NoDecode] = ()
    """Comma-separated files with servers and accounts of which nothing is recorded, as Mastodon
    exports them. None by default."""
    person_salt: SecretStr | None = None
    """Makes the pseudonyms that stand for persons' names: the same wherever this lake is written.
    The native stack generates it; unset, such names are left empty."""
    mastodon_poll_interval_seconds: float = Field(15.0, ge=0.2, le=86_400)
    """Between two requests to a polled timeline; Mastodon caches anonymous answers for 15 s."""
    listener_groups: int = Field(1, ge=1, le=16)
    """Number of runs that the servers are spread over: 1, because one run can follow a thousand
    servers; 16 at most, because Dagster's `tag_concurrency_limits` allow no more at once."""

    kafka_bootstrap_servers: Brokers = "127.0.0.1:9092"
    """The brokers, comma-separated `host:port`; by default the native stack's."""
    kafka_topic: str = Field("mastodon-topic", pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$")
    """The topic of the records, named as in the article."""
    kafka_topic_partitions: int = Field(4, ge=1, le=1000)
    """Partitions of the topic when it is created: room for a sink of several tasks, because adding
    partitions later would move keys to other partitions."""
    kafka_topic_retention_bytes: int = Field(2 * 1024**3, ge=-1, lt=2**63)
    """Bytes per partition when the topic is created; -1 keeps everything. By size and not by age:
    what arrives during an outage of the sink must be there after it, however long it was."""
    kafka_topic_replication_factor: int | None = Field(None, ge=1, le=100)
    """Brokers that have a copy of each partition, of every topic that the pipeline makes; unset, it
    is the brokers' own default (`default.replication.factor`)."""
    kafka_topic_min_insync_replicas: int | None = Field(None, ge=1, le=100)
    """Copies that must have a record before Kafka acknowledges it, of every topic that the pipeline
    makes; unset, it is the brokers' own default (`min.insync.replicas`)."""
    kafka_security_protocol: (
        Annotated[Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], UpperCase] | None
    ) = None
    """librdkafka's `security.protocol`, such as SASL_SSL; unset, it is PLAINTEXT."""
    kafka_sasl_mechanism: (
        Annotated[
            Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI", "OAUTHBEARER"], UpperCase
        ]
        | None
    ) = None
    """librdkafka's `sasl.mechanism`, such as SCRAM-SHA-512."""
    kafka_sasl_username: str | None = None
    """librdkafka's `sasl.username`."""
    kafka_sasl_password: SecretStr | None = None
    """librdkafka's `sasl.password`."""
    kafka_ssl_ca_location: AuthoritiesFile | None = None
    """librdkafka's `ssl.ca.location`: a PEM file; unset, that of `services_ca_file`, else the
    system's certificates are used."""
    schema_registry_url: HttpAddress = "http://127.0.0.1:8081/apis/ccompat/v7"
    """The registry's Confluent API; by default the native stack's Apicurio."""
    connect_registry_url: PublicHttpAddress = "http://127.0.0.1:8081/apis/registry/v2"
    """The registry as Kafka Connect's Avro converter reaches it (Apicurio's own API)."""
    schema_registry_username: UserName | None = None
    """The registry's user, if it asks for one: HTTP's basic authentication."""
    schema_registry_password: SecretStr | None = None
    """That user's password."""

    kafka_connect_url: HttpAddresses = "http://127.0.0.1:8083"
    """Kafka Connect's REST API; by default the native stack's. Several workers of one group are
    separated by commas, and the first that answers is asked."""
    kafka_connect_username: UserName | None = None
    """Kafka Connect's user, if its REST API asks for one: HTTP's basic authentication."""
    kafka_connect_password: SecretStr | None = None
    """That user's password."""
    sink: Literal["iceberg", "s3"] = "iceberg"
    """Which connector writes the Parquet: Iceberg's, which Maven Central serves, or a plain S3 sink
    that your Connect has already."""
    connector_name: str = Field("mastodon-sink", pattern=r"^[A-Za-z0-9._-]+$")
    """The sink connector's name in Kafka Connect; its consumer group is `connect-<name>`."""
    sink_tasks: int = Field(1, ge=1, le=1000)
    """The sink connector's tasks: 1, because each writes separate files and the cost of a query
    grows with the files; more only if one task cannot keep up."""
    sink_commit_seconds: int = Field(10, ge=1, le=3600)
    """How often the Iceberg sink writes files and commits them: the more often, the more files."""
    iceberg_table: str = Field("mastodon.toots_raw", pattern=r"^\w+\.\w+$")
    """The Iceberg sink's table, `namespace.name`."""
    iceberg_catalog_uri: JdbcAddress = Field(
        default_factory=lambda: (
            f"jdbc:sqlite:file:{data_directory()}/lake/catalog.db"
            "?journal_mode=WAL&busy_timeout=15000"
        )
    )
    """The Iceberg catalog as Kafka Connect reaches it, as a JDBC URL; SQLite needs no server.
    Unset, it is that of a `lake_catalog_uri` in PostgreSQL."""
    lake_catalog_uri: SqlAlchemyAddress | None = None
    """The Iceberg catalog as a SQLAlchemy URL: a PostgreSQL database, for the sink as well unless
    that reaches it at another address; secret, because it may contain a password."""
    raw_retention_days: int = Field(30, ge=0, le=36_500)
    """Days after which an hour's landed files are removed once its `toots` are verified: a month in
    which it can still be rebuilt. 0 keeps them."""
    person_retention_days: int = Field(0, ge=0, le=36_500)
    """Days after which nothing in the lake leads to a person any more: text and addresses of toots
    go, and pseudonyms by `person_salt` stand for names. Counts stay. 0 keeps them."""
    run_history_days: int = Field(1, ge=0, le=36_500)
    """Days after which Dagster's records of superseded runs are deleted: 1, because there are
    two runs a minute, of 140 kB each, while toots come. 0 keeps them."""

    s3_endpoint: HttpOrigin = "http://127.0.0.1:9000"
    """The object store; by default the native stack's MinIO."""
    connect_s3_endpoint: HttpOrigin | None = None
    """The object store as Kafka Connect reaches it, if that differs from `s3_endpoint`."""
    s3_bucket: str = Field("mastodon", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$")
    """The bucket of the landed files, tables and charts."""
    aws_region: str = Field("us-east-1", pattern=r"^[A-Za-z0-9-]+$")
    """The bucket's region; MinIO's default is AWS's."""
    aws_access_key_id: AccessKey | None = None
    """The object store's key; unset, AWS's own chain applies (profile, role)."""
    aws_secret_access_key: AccessKey | None = None
    """The object store's secret key."""
    dashboard_access_key_id: AccessKey | None = None
    """A key of the object store that only reads, for the dashboard; the native stack makes one.
    Unset, the dashboard uses the key above."""
    dashboard_secret_access_key: AccessKey | None = None
    """That key's secret."""

    services_ca_file: AuthoritiesFile | None = None
    """A PEM file with the authorities that sign the certificates of our own services: Kafka, the
    registry, Kafka Connect and the object store. Unset, the system's are trusted. Mastodon servers
    are not ours."""

    alert_urls: SecretStr | None = None
    """Comma-separated Apprise URLs that get a message when a problem begins and when it is over;
    secret, because they contain tokens. None by default."""

    first_day: date = Field(date(2016, 3, 16), ge=date(2016, 1, 1))
    """Toots from before this day (UTC) land, but are not counted, not even if they are replayed.

    By default the day of Mastodon's first release. From there on the tables begin with what there
    is to count, see `usage.first_day`; a later day hides what is older."""
    terms: Annotated[tuple[str, ...], NoDecode] = ("mastodon", "fediverse", "kafka", "duckdb")
    """Comma-separated words or phrases whose mentions `term_mentions` counts, ignoring case."""

    @field_validator("*", mode="before")
    @classmethod
    def _check_text(cls, value: object) -> object:
        return check_text(value)

    @field_validator("mastodon_servers", "blocklist", "terms", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in (piece.strip() for piece in value.split(",")) if part)
        return value

    @model_validator(mode="after")
    def _check_replicas(self) -> Self:
        if (self.kafka_topic_min_insync_replicas or 1) > (
            self.kafka_topic_replication_factor or math.inf
        ):
            raise ValueError(
                "KAFKA_TOPIC_MIN_INSYNC_REPLICAS is more than KAFKA_TOPIC_REPLICATION_FACTOR, so"
                " Kafka would take no record"
            )
        return self

    @model_validator(mode="after")
    def _check_salt(self) -> Self:
        # Without keys of the object store, the native stack may yet generate both.
        if self.person_retention_days and not self.person_salt and self.aws_access_key_id:
            raise ValueError(NO_SALT)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The later file wins, so a person's own .env has precedence over what the stack wrote.
        return init_settings, env_settings, _FilesSource(settings_cls)

    @property
    def dead_letter_topic(self) -> str:
        """The topic of the records that could not be written, with the reason in their headers."""
        return f"{self.kafka_topic}-dlq"

    @property
    def positions_topic(self) -> str:
        """The compacted topic of the feeds' positions: where a restarted listener continues."""
        return f"{self.kafka_topic}-positions"

    @property
    def tallies_topic(self) -> str:
        """The compacted topic of what listeners received and Kafka acknowledged, by hour."""
        return f"{self.kafka_topic}-tallies"

    @property
    def user_agent(self) -> str:
        """What servers see of us: product, version, purpose, and the contact if one is set."""
        contact = f"; +{self.mastodon_contact}" if self.mastodon_contact else ""
        return f"{PRODUCT}/{version('mastodon-pipeline')} (counts public toots{contact})"

    def contact_request(self, servers: Sequence[Server] | None = None) -> str:
        """Return a line that asks for MASTODON_CONTACT; '' if it is set, or nobody would see it.

        `servers`: those that will be asked, by default the configured ones. Raises SettingsError
        as `servers` does.
        """
        if self.mastodon_contact:
            return ""
        others = [
            server
            for server in (self.servers() if servers is None else servers)
            if not server.is_local
        ]
        if not others:
            return ""
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        return (
            f"the admins of {others[0].name}{more} cannot tell who reads their servers: set"
            " MASTODON_CONTACT in .env to a page about you, or an e-mail address"
            " (docs/privacy-notice.md is a page to adapt)"
        )

    def servers(self) -> tuple[Server, ...]:
        """Return the configured servers, each once, in the order written; the file's entry wins.

        Raises SettingsError if an address, a feed or the servers' file is wrong.
        """
        try:
            servers = [parse_server(url) for url in self.mastodon_servers]
        except SettingsError as error:
            raise SettingsError(f"MASTODON_SERVERS: {error}") from None
        if self.mastodon_servers_file is not None:
            servers += read_servers_file(self.mastodon_servers_file)
        return tuple({server.base_url: server for server in servers}.values())

    def alert_targets(self) -> tuple[str, ...]:
        """Return the Apprise URLs, each once. They are secrets: never print them.

        A comma separates two URLs only where a scheme follows; others belong to a URL.
        """
        urls = self.alert_urls.get_secret_value() if self.alert_urls else ""
        parts = re.split(r"[,\s]+(?=[A-Za-z][A-Za-z0-9+.-]*://)", urls)
        return tuple(dict.fromkeys(url for part in parts if (url := part.strip(" ,\t\n"))))

    @property
    def registry_login(self) -> tuple[str, str] | None:
        """The registry's user and password, if both are set."""
        return _login(self.schema_registry_username, self.schema_registry_password)

    @property
    def connect_urls(self) -> tuple[str, ...]:
        """The addresses of Kafka Connect's workers, one at least."""
        return tuple(self.kafka_connect_url.split(","))

    @property
    def connect_login(self) -> tuple[str, str] | None:
        """Kafka Connect's user and password, if both are set."""
        return _login(self.kafka_connect_username, self.kafka_connect_password)

    def kafka_client_config(self) -> dict[str, str]:
        """Return librdkafka's properties for reaching the broker, security included."""
        encrypted = "SSL" in (self.kafka_security_protocol or "")
        authorities = self.kafka_ssl_ca_location or (self.services_ca_file if encrypted else None)
        properties: Mapping[str, object] = {
            "bootstrap.servers": self.kafka_bootstrap_servers,
            "security.protocol": self.kafka_security_protocol,
            "sasl.mechanism": self.kafka_sasl_mechanism,
            "sasl.username": self.kafka_sasl_username,
            "sasl.password": self.kafka_sasl_password
            and self.kafka_sasl_password.get_secret_value(),
            "ssl.ca.location": authorities,
        }
        return {name: str(value) for name, value in properties.items() if value is not None}


def _login(username: str | None, password: SecretStr | None) -> tuple[str, str] | None:
    return (username, password.get_secret_value()) if username and password else None


def load_settings(**overrides: Any) -> Settings:
    """Return the settings that the environment and the settings files have now.

    Raises SettingsError, which names each wrong variable.
    """
    check_proxies()
    if overrides:
        return _read_settings(overrides)
    sources = _sources()
    last = _LAST.settings
    if last is not None and last[0] == sources:
        return last[1]
    settings = _read_settings({})
    if settings.services_ca_file is None and settings.kafka_ssl_ca_location is None:
        _LAST.settings = (sources, settings)
    return settings


class _Last:
    """The settings that were read last, and what they were read from.

    Reading takes 2.5 ms of CPU, and a sensor's tick reads them several times. Not those that name a
    file, which is looked at each time.
    """

    settings: tuple[tuple[object, ...], Settings] | None = None


_LAST = _Last()


def _sources() -> tuple[object, ...]:
    """Return all that settings are read from."""
    return (dict(os.environ), *map(_content, (stack_file(), OWN_FILE)))


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _read_settings(overrides: Mapping[str, Any]) -> Settings:
    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = [_line(each["loc"], each["msg"]) for each in error.errors()]
        sources = ["the environment", *(str(f) for f in (OWN_FILE, stack_file()) if f.exists())]
        raise SettingsError(f"wrong in {' or '.join(sources)}: {'; '.join(lines)}") from None


def _line(location: tuple[int | str, ...], message: str) -> str:
    reason = message.removeprefix("Value error, ")
    return f"{str(location[0]).upper()}: {reason}" if location else reason
