"""Where the Iceberg catalog is: in a SQLite file, or in a PostgreSQL database.

The sink reaches it by JDBC, the pipeline by SQLAlchemy. One setting is enough for both:
LAKE_CATALOG_URI names a PostgreSQL database, from which the sink's address is made, or
ICEBERG_CATALOG_URI is the sink's, from which the pipeline's is made. A password is never in the
connector's configuration, which Connect's REST API shows: Connect's worker has it in its
environment. Nor is one in the address that the sink uses, which its errors quote.
"""

import os
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from sqlalchemy import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from mastodon_pipeline.dagster_database import with_driver
from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.paths import OWN_FILE
from mastodon_pipeline.setting_files import read_variables
from mastodon_pipeline.settings import Settings

CATALOG = "lake"
"""The catalog's name in the sink's config (`iceberg.catalog`), and in the catalog's rows."""
PASSWORD_VARIABLE = "LAKE_CATALOG_PASSWORD"
"""What Connect's worker has LAKE_CATALOG_URI's password in."""
BUSY_TIMEOUT_SECONDS = 15.0
"""How long SQLite waits for the sink's transaction; the sink waits as long for ours."""
_ENVIRONMENT_REFERENCE = re.compile(r"\$\{env:(\w+)\}")
_SAME_IN_BOTH = ("sslmode", "sslrootcert", "sslcert", "sslkey")
"""Options that libpq and PostgreSQL's JDBC driver have under one name."""
_PATIENCE = {"connectTimeout": "10", "socketTimeout": "60", "tcpKeepAlive": "true"}
"""Without, the driver waits for ever for a server whose machine is gone."""


def catalog_address(settings: Settings) -> URL:
    """Return the catalog's address for SQLAlchemy: LAKE_CATALOG_URI, else Connect's own.

    A SQLite file is opened, never created: an empty catalog would hide that the address is wrong.

    Raises SettingsError for a JDBC address that is neither SQLite's nor PostgreSQL's.
    """
    if settings.lake_catalog_uri is not None:
        return _own_address(settings)
    scheme, _, rest = settings.iceberg_catalog_uri.removeprefix("jdbc:").partition(":")
    if scheme == "sqlite":
        path = _ENVIRONMENT_REFERENCE.sub(lambda name: _value(name[1]), rest)
        path = path.removeprefix("file:").partition("?")[0]
        options = {"mode": "rw", "uri": "true", "timeout": str(BUSY_TIMEOUT_SECONDS)}
        return URL.create("sqlite", database=f"file:{quote(path)}", query=options)
    if scheme == "postgresql":
        rest = _ENVIRONMENT_REFERENCE.sub(lambda name: quote(_value(name[1]), safe=""), rest)
        parts = urlsplit(f"postgresql:{rest}")
        options = dict(parse_qsl(parts.query))
        user, password = options.pop("user", None), options.pop("password", None)
        options = {name: options[name] for name in _SAME_IN_BOTH if name in options}
        address = URL.create(
            *("postgresql", user, password, parts.hostname, parts.port, parts.path[1:]),
            query=options,
        )
        return make_url(with_driver(address.render_as_string(hide_password=False)))
    raise SettingsError(
        f"the pipeline cannot reach an Iceberg catalog at {settings.iceberg_catalog_uri!r}: set"
        " LAKE_CATALOG_URI to its address as SQLAlchemy writes it"
    )


def sink_catalog(settings: Settings) -> dict[str, str]:
    """Return the sink's properties that say where the catalog is, without a secret.

    Raises SettingsError for a LAKE_CATALOG_URI that is no address.
    """
    if settings.lake_catalog_uri is None or "iceberg_catalog_uri" in settings.model_fields_set:
        return _without_login(settings.iceberg_catalog_uri)
    address = _own_address(settings)
    if address.get_backend_name() != "postgresql":
        return _without_login(settings.iceberg_catalog_uri)
    options = {name: str(address.query[name]) for name in _SAME_IN_BOTH if name in address.query}
    host = f"[{address.host}]" if ":" in (address.host or "") else address.host or "localhost"
    query = urlencode({**options, **_PATIENCE})
    uri = f"jdbc:postgresql://{host}:{address.port or 5432}/{quote(address.database or '')}?{query}"
    user = {"jdbc.user": address.username} if address.username else {}
    password = {"jdbc.password": f"${{env:{PASSWORD_VARIABLE}}}"} if address.password else {}
    return _named({"uri": uri, **user, **password})


def sink_variables(settings: Settings) -> dict[str, str]:
    """Return what Connect's worker needs in its environment to reach the catalog.

    Raises SettingsError if ICEBERG_CATALOG_URI names a variable that is not set.
    """
    properties = sink_catalog(settings)
    names = {name for text in properties.values() for name in _ENVIRONMENT_REFERENCE.findall(text)}
    variables = {}
    if PASSWORD_VARIABLE in names and settings.lake_catalog_uri is not None:
        variables[PASSWORD_VARIABLE] = str(_own_address(settings).password)
    return variables | {name: _value(name) for name in sorted(names - variables.keys())}


def _own_address(settings: Settings) -> URL:
    assert settings.lake_catalog_uri is not None
    try:
        return make_url(with_driver(settings.lake_catalog_uri.get_secret_value()))
    except (SQLAlchemyError, ValueError):  # a port that is no number
        raise SettingsError(
            "LAKE_CATALOG_URI is not an address as SQLAlchemy writes it, such as"
            " postgresql://user:password@host/database"
        ) from None


def _without_login(uri: str) -> dict[str, str]:
    """Give user and password of PostgreSQL to the driver apart, since errors quote the address."""
    if not uri.startswith("jdbc:postgresql:"):
        return _named({"uri": uri})
    address, _, query = uri.partition("?")
    options = [option for option in query.split("&") if option]
    login = {
        f"jdbc.{name}": unquote(value)
        for name, _, value in (option.partition("=") for option in options)
        if name in ("user", "password")
    }
    rest = "&".join(o for o in options if o.partition("=")[0] not in ("user", "password"))
    return _named({"uri": f"{address}?{rest}" if rest else address, **login})


def _named(properties: Mapping[str, str]) -> dict[str, str]:
    return {f"iceberg.catalog.{name}": value for name, value in properties.items()}


def _value(name: str) -> str:
    """Return what Kafka Connect's `${env:NAME}` stands for."""
    value = os.environ.get(name) or read_variables(OWN_FILE).get(name)
    if value is None:
        raise SettingsError(
            f"ICEBERG_CATALOG_URI names the variable {name}, which is not set here: set it,"
            " or LAKE_CATALOG_URI"
        )
    return value
