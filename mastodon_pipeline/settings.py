"""Every setting of the pipeline: environment variables, typed, in this one place.

Values come from the environment, then from the files `.env` (yours) and `.data/stack.env`
(written by the native stack: its addresses and MinIO's generated credentials), then from the
defaults below, which match the native stack on its default ports. The same code points at a
managed Kafka and S3 by settings alone.

Both files are beside the checkout's README.md; for an installed package they are in the current
directory.
"""

from collections.abc import Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.paths import OWN_FILE, data_directory
from mastodon_pipeline.servers import Server, parse_server, read_servers_file


class Settings(BaseSettings):
    """What the pipeline listens to and where its parts are.

    Raises SettingsError through `load_settings`, which names the wrong variable.
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    mastodon_servers: Annotated[tuple[str, ...], NoDecode] = ()
    """Comma-separated addresses; each one's local feed is followed."""
    mastodon_servers_file: Path | None = None
    """TOML instead: `[[servers]]` tables with url, feed (local, public, remote), token_env."""
    mastodon_allow_private_addresses: bool = False
    """Follow http:// and loopback or private addresses: for the simulator and tests alone."""
    mastodon_contact: str = ""
    """Who runs this listener (a page or an address), for the User-Agent that server admins see."""
    mastodon_poll_interval_seconds: float = Field(15.0, ge=0.2)
    """Between two looks at a polled timeline; Mastodon caches anonymous answers for 15 s."""
    listener_groups: int = Field(1, ge=1, le=16)
    """Over how many runs the servers are spread; one follows a thousand. No more than Dagster's
    `tag_concurrency_limits` lets run at once."""

    kafka_bootstrap_servers: str = "127.0.0.1:9092"
    kafka_topic: str = "mastodon-topic"
    kafka_topic_partitions: int = Field(4, ge=1)
    """Partitions of the topic when it is first made."""
    kafka_topic_retention_bytes: int = Field(2 * 1024**3, ge=-1)
    """Per partition, bytes; -1 keeps everything. By size, since records carry post times."""
    kafka_security_protocol: str | None = None
    kafka_sasl_mechanism: str | None = None
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_ssl_ca_location: Path | None = None
    schema_registry_url: str = "http://127.0.0.1:8081/apis/ccompat/v7"
    """The registry's Confluent API."""
    connect_registry_url: str = "http://127.0.0.1:8081/apis/registry/v2"
    """The registry as Kafka Connect's Avro converter reaches it (Apicurio's own API)."""

    kafka_connect_url: str = "http://127.0.0.1:8083"
    sink: Literal["iceberg", "s3"] = "iceberg"
    connector_name: str = Field("mastodon-sink", pattern=r"^[A-Za-z0-9._-]+$")
    """The sink connector's name in Kafka Connect; its consumer group is `connect-<name>`."""
    sink_tasks: int = Field(1, ge=1)
    """The sink connector's tasks. Each writes files of its own, and the cost of a query follows
    the files: more only where one task cannot keep up."""
    iceberg_table: str = Field("mastodon.toots_raw", pattern=r"^\w+\.\w+$")
    """The Iceberg sink's table: namespace.name."""
    iceberg_catalog_uri: str = Field(
        default_factory=lambda: (
            f"jdbc:sqlite:file:{data_directory()}/lake/catalog.db"
            "?journal_mode=WAL&busy_timeout=15000"
        )
    )
    """The Iceberg catalog as Kafka Connect reaches it."""
    lake_catalog_uri: SecretStr | None = None
    """The same catalog as SQLAlchemy writes its address, where the pipeline reaches it otherwise
    than Kafka Connect does."""
    raw_retention_days: int = Field(30, ge=0)
    """Landed files of older hours are removed once their `toots` are verified; 0 keeps them."""
    run_history_days: int = Field(1, ge=0)
    """Dagster's records of older runs are deleted once later ones supersede them; 0 keeps them."""

    s3_endpoint: str = "http://127.0.0.1:9000"
    connect_s3_endpoint: str | None = None
    """The object store as Kafka Connect reaches it, where that differs from `s3_endpoint`."""
    s3_bucket: str = "mastodon"
    aws_region: str = "us-east-1"
    aws_access_key_id: SecretStr | None = None
    aws_secret_access_key: SecretStr | None = None

    first_day: date = date(2026, 1, 1)
    """The first day with usage tables; toots claimed to be older land, but are not counted."""
    terms: Annotated[tuple[str, ...], NoDecode] = ("mastodon", "fediverse", "kafka", "duckdb")
    """Comma-separated words or phrases whose mentions `term_mentions` counts, in any case."""

    @field_validator("mastodon_servers", "terms", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in (piece.strip() for piece in value.split(",")) if part)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        from pydantic_settings import DotEnvSettingsSource

        # The later file wins, so a person's own .env stands above what the stack wrote.
        files = (data_directory() / "stack.env", OWN_FILE)
        return init_settings, env_settings, DotEnvSettingsSource(settings_cls, env_file=files)

    @property
    def dead_letter_topic(self) -> str:
        """Where bad records go, with the reason in their headers."""
        return f"{self.kafka_topic}-dlq"

    @property
    def positions_topic(self) -> str:
        """How far each server has been read (compacted): where listeners go on after a restart."""
        return f"{self.kafka_topic}-positions"

    @property
    def user_agent(self) -> str:
        """What servers see of us: product, version, and the contact where one is set."""
        contact = f" (+{self.mastodon_contact})" if self.mastodon_contact else ""
        return f"mastodon_pipeline/{version('mastodon-pipeline')}{contact}"

    def servers(self) -> tuple[Server, ...]:
        """The configured servers, each once, in the order written.

        Raises SettingsError where an address, a feed or the servers' file cannot be understood.
        """
        found = [parse_server(url) for url in self.mastodon_servers]
        if self.mastodon_servers_file is not None:
            found += read_servers_file(self.mastodon_servers_file)
        return tuple({server.base_url: server for server in found}.values())

    def kafka_client_config(self) -> dict[str, str]:
        """librdkafka's settings for reaching the broker, security included."""
        values: Mapping[str, object] = {
            "bootstrap.servers": self.kafka_bootstrap_servers,
            "security.protocol": self.kafka_security_protocol,
            "sasl.mechanism": self.kafka_sasl_mechanism,
            "sasl.username": self.kafka_sasl_username,
            "sasl.password": self.kafka_sasl_password
            and self.kafka_sasl_password.get_secret_value(),
            "ssl.ca.location": self.kafka_ssl_ca_location,
        }
        return {name: str(value) for name, value in values.items() if value is not None}


def load_settings(**overrides: Any) -> Settings:
    """The settings as the environment and the settings files give them now.

    Raises SettingsError that names each variable that is wrong.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        raise SettingsError("these settings are wrong: " + "; ".join(lines)) from None
