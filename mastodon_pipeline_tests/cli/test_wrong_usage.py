"""What a person may get wrong at the command line: one line that says what, and the exit code.

Never a traceback. Each row is a sample of its kind.
"""

import os
import re
import signal
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result

import infra.demo
import infra.native_stack.__main__ as native_stack
import mastodon_pipeline.servers
import mastodon_pipeline.settings
from mastodon_pipeline.cli.main import COMMANDS, cli
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.serving import serving

NOT_UTF8 = "S3_BUCKET=b\xfccher\n".encode("latin-1")
LONE = "\udcff"
"""What Python makes of a byte that is no UTF-8, in an argument or a variable."""


@pytest.fixture(autouse=True)
def empty_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No setting of the caller's, no files, and keys for a store that nobody needs to reach."""
    ours = {name.upper() for name in Settings.model_fields}
    proxies = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
    for name in list(os.environ):
        if name.upper() in ours | proxies or name.endswith("_PORT"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MASTODON_PIPELINE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "word")
    (tmp_path / "data").mkdir()
    own_file = tmp_path / ".env"
    monkeypatch.setattr(mastodon_pipeline.settings, "OWN_FILE", own_file)
    monkeypatch.setattr(mastodon_pipeline.servers, "OWN_FILE", own_file)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def empty_store_port() -> Iterator[int]:
    """An object store with an empty bucket, one for all tests: a client takes long to make."""

    class EmptyBucket(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<ListBucketResult></ListBucketResult>")

        def do_HEAD(self) -> None:
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the terminal quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), EmptyBucket)
    with serving(server):
        yield server.server_port


@pytest.fixture
def empty_store(monkeypatch: pytest.MonkeyPatch, empty_store_port: int) -> None:
    """Use an object store with an empty bucket."""
    monkeypatch.setenv("S3_ENDPOINT", f"http://127.0.0.1:{empty_store_port}")


def check(result: Result, exit_code: int, line: str) -> None:
    """Check the exit code, that the last line is the expected one, and that nothing was raised."""
    assert isinstance(result.exception, SystemExit | None), repr(result.exception)
    assert "Traceback" not in result.output
    last = result.output.strip().splitlines()[-1] if result.output.strip() else ""
    assert re.search(line, last), result.output
    assert result.exit_code == exit_code


WRONG_SETTINGS = [
    ("SINK", "hdfs", "SINK: .*'iceberg' or 's3'"),
    ("LISTENER_GROUPS", "0", "LISTENER_GROUPS: .*greater than or equal to 1"),
    ("LISTENER_GROUPS", "17", "LISTENER_GROUPS: .*less than or equal to 16"),
    ("LISTENER_GROUPS", "many", "LISTENER_GROUPS: .*integer"),
    ("MASTODON_CONTACT", "Жук", "MASTODON_CONTACT: .*Latin"),
    ("MASTODON_CONTACT", "me 🐘", "MASTODON_CONTACT: .*Latin"),
    ("MASTODON_CONTACT", "a\r\nX-Header: b", "MASTODON_CONTACT: .*control character"),
    ("MASTODON_CONTACT", f"J{LONE}rgen", "MASTODON_CONTACT: .*not text in UTF-8"),
    ("MASTODON_POLL_INTERVAL_SECONDS", "0", "MASTODON_POLL_INTERVAL_SECONDS: "),
    ("MASTODON_POLL_INTERVAL_SECONDS", "nan", "MASTODON_POLL_INTERVAL_SECONDS: "),
    ("MASTODON_POLL_INTERVAL_SECONDS", "inf", "MASTODON_POLL_INTERVAL_SECONDS: "),
    ("MASTODON_POLL_INTERVAL_SECONDS", "15s", "MASTODON_POLL_INTERVAL_SECONDS: "),
    ("MASTODON_ALLOW_PRIVATE_ADDRESSES", "maybe", "MASTODON_ALLOW_PRIVATE_ADDRESSES: .*bool"),
    ("KAFKA_BOOTSTRAP_SERVERS", "http://127.0.0.1:9092/x", "KAFKA_BOOTSTRAP_SERVERS: .*broker"),
    ("KAFKA_BOOTSTRAP_SERVERS", "host:port", "KAFKA_BOOTSTRAP_SERVERS: .*broker"),
    ("KAFKA_BOOTSTRAP_SERVERS", "host:70000", "KAFKA_BOOTSTRAP_SERVERS: .*broker"),
    ("KAFKA_BOOTSTRAP_SERVERS", "a:1 b:2", "KAFKA_BOOTSTRAP_SERVERS: .*broker"),
    ("KAFKA_BOOTSTRAP_SERVERS", "a:1,,b:2", "KAFKA_BOOTSTRAP_SERVERS: .*broker"),
    ("KAFKA_BOOTSTRAP_SERVERS", ":9092", "KAFKA_BOOTSTRAP_SERVERS: .*broker"),
    ("KAFKA_BOOTSTRAP_SERVERS", "[::1:9092", "KAFKA_BOOTSTRAP_SERVERS: .*broker"),
    ("KAFKA_TOPIC", "two words", "KAFKA_TOPIC: .*pattern"),
    ("KAFKA_TOPIC", "t\u00f6\u00f6ts", "KAFKA_TOPIC: .*pattern"),
    ("KAFKA_TOPIC", "..", "KAFKA_TOPIC: .*pattern"),
    ("KAFKA_TOPIC", "x" * 250, "KAFKA_TOPIC: .*pattern"),
    ("KAFKA_TOPIC_PARTITIONS", "0", "KAFKA_TOPIC_PARTITIONS: "),
    ("KAFKA_TOPIC_PARTITIONS", "1.5", "KAFKA_TOPIC_PARTITIONS: "),
    ("KAFKA_TOPIC_PARTITIONS", "1000000", "KAFKA_TOPIC_PARTITIONS: "),
    ("KAFKA_TOPIC_REPLICATION_FACTOR", "0", "KAFKA_TOPIC_REPLICATION_FACTOR: "),
    ("KAFKA_TOPIC_MIN_INSYNC_REPLICAS", "0", "KAFKA_TOPIC_MIN_INSYNC_REPLICAS: "),
    ("KAFKA_TOPIC_RETENTION_BYTES", "-2", "KAFKA_TOPIC_RETENTION_BYTES: "),
    ("KAFKA_TOPIC_RETENTION_BYTES", "2GB", "KAFKA_TOPIC_RETENTION_BYTES: "),
    ("KAFKA_TOPIC_RETENTION_BYTES", "1" + "0" * 30, "KAFKA_TOPIC_RETENTION_BYTES: "),
    ("KAFKA_SECURITY_PROTOCOL", "TLS", "KAFKA_SECURITY_PROTOCOL: .*'SASL_SSL'"),
    ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL", "KAFKA_SECURITY_PROTOCOL, KAFKA_SASL_"),
    ("KAFKA_SASL_MECHANISM", "SCRAM", "KAFKA_SASL_MECHANISM: .*SCRAM-SHA-512"),
    ("KAFKA_SSL_CA_LOCATION", "/nonexistent/ca.pem", "KAFKA_SSL_CA_LOCATION: .*file"),
    ("KAFKA_SSL_CA_LOCATION", "/", "KAFKA_SSL_CA_LOCATION: .*file"),
    ("SCHEMA_REGISTRY_URL", "localhost:8081", "SCHEMA_REGISTRY_URL: .*not an address"),
    ("SCHEMA_REGISTRY_URL", "ftp://host/", "SCHEMA_REGISTRY_URL: .*not an address"),
    ("SCHEMA_REGISTRY_URL", "http://", "SCHEMA_REGISTRY_URL: .*not an address"),
    ("SCHEMA_REGISTRY_URL", "http://host:99999", "SCHEMA_REGISTRY_URL: .*not an address"),
    ("SCHEMA_REGISTRY_URL", "http://ho st", "SCHEMA_REGISTRY_URL: .*not an address"),
    ("CONNECT_REGISTRY_URL", "http://a:sesame@host/", "CONNECT_REGISTRY_URL: .*credentials"),
    ("SCHEMA_REGISTRY_URL", "http://host/?a=b", r"SCHEMA_REGISTRY_URL: .*without \?"),
    ("CONNECT_REGISTRY_URL", "registry", "CONNECT_REGISTRY_URL: .*not an address"),
    ("KAFKA_CONNECT_URL", "http://[::1", "KAFKA_CONNECT_URL: .*not an address"),
    ("KAFKA_CONNECT_URL", "http://a:8083,b:8083", "KAFKA_CONNECT_URL: .*not an address"),
    ("KAFKA_CONNECT_URL", "http://a:8083,", "KAFKA_CONNECT_URL: .*not an address"),
    ("CONNECTOR_NAME", "a/b", "CONNECTOR_NAME: .*pattern"),
    ("SINK_TASKS", "0", "SINK_TASKS: "),
    ("SINK_COMMIT_SECONDS", "0", "SINK_COMMIT_SECONDS: "),
    ("ICEBERG_TABLE", "toots", "ICEBERG_TABLE: .*pattern"),
    ("ICEBERG_TABLE", "a.b.c", "ICEBERG_TABLE: .*pattern"),
    ("ICEBERG_CATALOG_URI", "postgresql://host/db", "ICEBERG_CATALOG_URI: .*JDBC"),
    ("LAKE_CATALOG_URI", "nonsense", "LAKE_CATALOG_URI: .*SQLAlchemy"),
    ("LAKE_CATALOG_URI", "jdbc:postgresql://host/db", "LAKE_CATALOG_URI: .*SQLAlchemy"),
    ("RAW_RETENTION_DAYS", "1000000", "RAW_RETENTION_DAYS: .*36500"),
    ("RAW_RETENTION_DAYS", "-1", "RAW_RETENTION_DAYS: "),
    ("RAW_RETENTION_DAYS", "a month", "RAW_RETENTION_DAYS: "),
    ("RUN_HISTORY_DAYS", "1000000", "RUN_HISTORY_DAYS: .*36500"),
    ("S3_ENDPOINT", "localhost:9000", "S3_ENDPOINT: .*write it like http://127.0.0.1:9000"),
    ("S3_ENDPOINT", "http://host:9000/bucket", "S3_ENDPOINT: .*no path"),
    ("S3_ENDPOINT", "http://u:secret@host:9000", "S3_ENDPOINT: .*no credentials"),
    ("S3_ENDPOINT", "s3://mastodon", "S3_ENDPOINT: .*not an address"),
    ("S3_ENDPOINT", "http://host:nine", "S3_ENDPOINT: .*not an address"),
    ("CONNECT_S3_ENDPOINT", "minio:9000", "CONNECT_S3_ENDPOINT: .*not an address"),
    ("S3_BUCKET", "a", "S3_BUCKET: .*pattern"),
    ("S3_BUCKET", "s3://mastodon", "S3_BUCKET: .*pattern"),
    ("S3_BUCKET", "a/b/c", "S3_BUCKET: .*pattern"),
    ("AWS_REGION", "us east", "AWS_REGION: .*pattern"),
    ("AWS_SECRET_ACCESS_KEY", "w\u00f6rd", "AWS_SECRET_ACCESS_KEY: .*ASCII"),
    ("AWS_SECRET_ACCESS_KEY", "word\n", "AWS_SECRET_ACCESS_KEY: .*control character"),
    ("FIRST_DAY", "yesterday", "FIRST_DAY: .*date"),
    ("FIRST_DAY", "2026-13-01", "FIRST_DAY: .*date"),
    ("FIRST_DAY", "0001-01-01", "FIRST_DAY: .*2016-01-01"),
    ("TERMS", f"kafka,{LONE}", "TERMS: .*not text in UTF-8"),
    ("ALL_PROXY", "socks5h://127.0.0.1:1080", "ALL_PROXY=.*SOCKS"),
    ("HTTPS_PROXY", "http://u:secret@host:port", r"HTTPS_PROXY=http://\*\*\*@host:port is not"),
]


@pytest.mark.parametrize(("name", "value", "line"), WRONG_SETTINGS)
def test_wrong_setting_is_named(
    name: str, value: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    result = CliRunner().invoke(cli, ["consume", "--limit", "1"])
    check(result, 2, line)
    assert result.output.startswith("mastodon-pipeline: ")
    assert "secret" not in result.output


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_half_a_pair_of_keys_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(missing)
    line = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set alone"
    check(CliRunner().invoke(cli, ["sql", "SELECT 1"]), 2, line)


def test_doctor_names_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_ENDPOINT", "localhost:9000")
    result = CliRunner().invoke(cli, ["doctor"])
    assert "!!  settings         wrong in the environment: S3_ENDPOINT: " in result.stdout
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("file", "content", "line"),
    [
        (".env", NOT_UTF8, r"\.env is not text in UTF-8"),
        (".env", b"S3_BUCKET=b\x00\n", r"\.env is not text in UTF-8"),
        (".env", None, r"\.env is a directory"),
        (".env", b"SINK=hdfs\n", r"wrong in .*\.env: SINK: "),
        (".env", b"\xef\xbb\xbfSINK=hdfs\n", "SINK: "),
        (".env", b"SINK=hdfs\r\n", "SINK: "),
        (".env", "\ufeffSINK=hdfs\r\n".encode("utf-16-le"), "SINK: "),
        (".env", "\ufeffSINK=hdfs\n".encode("utf-16-be"), "SINK: "),
        ("data/stack.env", NOT_UTF8, r"stack\.env is not text in UTF-8"),
        ("data/stack.env", b"S3_ENDPOINT=127.0.0.1\n", r"stack\.env: S3_ENDPOINT: "),
    ],
)
def test_wrong_settings_file_is_named(
    file: str, content: bytes | None, line: str, empty_machine: Path
) -> None:
    path = empty_machine / file
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    check(CliRunner().invoke(cli, ["consume", "--limit", "1"]), 2, line)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("[[servers]]", "server 1: it has no url"),
        ("[[servers]]\nurl = 7", "server 1: its url is not text"),
        ("[[servers]]\nurl = 'a.example'\ntoken_env = 7", "server 1: its token_env is not text"),
        ("[[servers]]\nurl = 'a.example'\ntoken_env = 'a b'", "token_env is not the name of an"),
        ("[[servers]]\nurl = 'a.example'\nfeed = 7", "server 1: its feed is not text"),
        ("[[servers]]\nurl = 'a.example'\nfeed = 'home'", "'home' .*none of local, public, remote"),
        ("[[servers]]\nurl = 'a.example'\n[[servers]]\nurl = 'a b'", "server 2: 'a b' is not a"),
        ("servers = 'a.example'", "is not a list of servers"),
        ("servers = ['a.example']", "server 1: it is not a table"),
        ("server = 1", "is not a list of servers"),
        ("url: a.example", "is not TOML"),
        ("[[servers]]\nurl = 'a.example'\nurl = 'b.example'", "is not TOML"),
    ],
)
def test_wrong_list_of_servers_is_named_with_the_entry(
    content: str, line: str, empty_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = empty_machine / "servers.toml"
    file.write_text(content)
    monkeypatch.setenv("MASTODON_SERVERS_FILE", str(file))
    check(CliRunner().invoke(cli, ["servers"]), 2, f"MASTODON_SERVERS_FILE .*{line}")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"[[servers]]\nurl = 'm\xfcnchen.example'\n", "not text in UTF-8"),
        (None, "is a directory"),
        (b"", "is not a list of servers"),
    ],
)
def test_list_of_servers_that_is_no_text_is_named(
    content: bytes | None, line: str, empty_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = empty_machine / "servers.toml"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    monkeypatch.setenv("MASTODON_SERVERS_FILE", str(file))
    check(CliRunner().invoke(cli, ["servers"]), 2, f"MASTODON_SERVERS_FILE.*{line}")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "line"),
    [
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["--nonsense"], 2, "No such option"),
        *(([name, "--nonsense"], 2, "No such option") for name in COMMANDS),
        (["doctor", "x"], 2, "unexpected extra argument"),
        (["maintain", "x"], 2, "unexpected extra argument"),
        (["consume", "x"], 2, "unexpected extra argument"),
        (["consume", "--limit", "0"], 2, "'--limit'"),
        (["consume", "--limit", "all"], 2, "'--limit'"),
        (["listen"], 2, "Missing option '--base-url'"),
        (["listen", "--base-url"], 2, "requires an argument"),
        (["listen", "--watchdog=1", "--base-url", ""], 2, "not a server's address"),
        (["listen", "--watchdog=1", "--base-url", "ftp://a.example"], 2, "not a server's address"),
        (
            ["listen", "--watchdog=1", "--base-url", "https://a.example/@ada"],
            2,
            "not a server's address",
        ),
        (["listen", "--watchdog=1", "--base-url", "@ada@a.example"], 2, "not a server's address"),
        (["listen", "--watchdog=1", "--base-url", "a example"], 2, "not a server's address"),
        (
            ["listen", "--watchdog=1", "--base-url", "https://a.example:port"],
            2,
            "not a server's address",
        ),
        (["listen", "--watchdog=1", "--base-url", f"a{LONE}.example"], 2, "not text in UTF-8"),
        (["listen", "--base-url", "a.example", "--watchdog", "0"], 2, "'--watchdog'"),
        (["login"], 2, "Missing argument 'SERVER'"),
        (["login", "not a server"], 2, "not a server's address"),
        (["login", "https://"], 2, "not a server's address"),
        (["login", "a.example", "--env-file", "/"], 2, "is a directory"),
        (["servers"], 2, "no server is configured"),
        (["servers", "https://[::1"], 2, "not a server's address"),
        (["backfill", "one.example"], 2, "Missing option '--since'"),
        (["backfill", "one.example", "--since", "yesterday"], 2, "yesterday"),
        (["backfill", "@ada@one.example", "--since", "2024-01-01"], 2, "is not a server's address"),
        (["backfill", "one.example", "--since", "2999-01-01"], 2, "not before its end or now"),
        (["replay"], 2, "give either files or --dead-letters"),
        (["replay", "/nonexistent/*.parquet"], 1, "No files found"),
        (["replay", "https://a.example/x.parquet"], 1, "neither a local path nor one of s3"),
        (["replay", "text.parquet"], 1, "text.parquet"),
        (["replay", "other.parquet"], 1, "columns"),
        (["replay", "/"], 1, "."),
        (["replay", f"{LONE}.parquet"], 2, "not text in UTF-8"),
        (["sql", "SELECT 1", "SELECT 2"], 2, "unexpected extra argument"),
    ],
)
def test_wrong_arguments(
    arguments: list[str], exit_code: int, line: str, empty_machine: Path
) -> None:
    (empty_machine / "text.parquet").write_text("no Parquet")
    duckdb.sql(f"COPY (SELECT 1 AS n) TO '{empty_machine}/other.parquet'")
    check(CliRunner().invoke(cli, arguments), exit_code, line)


@pytest.mark.parametrize(
    ("statement", "exit_code", "line"),
    [
        ("SELEC 1", 1, "syntax error"),
        ("SELECT", 1, "SELECT clause without selection list"),
        ("SELECT (1", 1, "syntax error"),
        ("SELECT 'a", 1, "unterminated"),
        ("FROM nonsense", 1, "nonsense does not exist"),
        ("SELECT nonsense", 1, "nonsense"),
        ("SELECT 'a'::int", 1, "Conversion Error"),
        ("SELECT error('as I wish')", 1, "as I wish"),
        ("SELECT 1; SELEC 2", 1, "syntax error"),
        ("FROM read_parquet('/nonexistent.parquet')", 1, "No files found"),
        ("FROM read_csv('/')", 1, "."),
        ("ATTACH '/nonexistent/x.db'", 1, "IO Error"),
        ("COPY (SELECT 1) TO '/nonexistent/x.csv'", 1, "IO Error"),
        ("LOAD nonsense", 1, "nonsense"),
        ("SET nonsense = 1", 1, "nonsense"),
        ("SELECT $1", 1, "."),
        (f"SELECT '{LONE}'", 2, "not text in UTF-8"),
        ("", 0, ""),
        ("/* nothing */", 0, ""),
        (";", 0, ""),
    ],
)
@pytest.mark.usefixtures("empty_store")
@pytest.mark.thorough
def test_wrong_sql(statement: str, exit_code: int, line: str) -> None:
    check(CliRunner().invoke(cli, ["sql", statement]), exit_code, line)


@pytest.mark.usefixtures("empty_store")
def test_sql_from_standard_input_that_is_not_utf8() -> None:
    check(CliRunner().invoke(cli, ["sql"], input=b"SELECT '\xff'"), 1, "not UTF-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_ends_each_command_with_130_and_no_traceback(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mastodon_pipeline.settings, "load_settings", interrupt)
    monkeypatch.setattr("mastodon_pipeline.cli.health_checks.load_settings", interrupt)
    # Serving begins before its settings are read, and would not end.
    monkeypatch.setattr("mastodon_pipeline.dashboard.launching.run", lambda *_: interrupt())
    arguments = {
        "alerts": ["test"],
        "forget": ["@a@a.example"],
        "listen": ["--base-url", "a.example"],
        "login": ["a.example"],
        "backfill": ["one.example", "--since", "2024-01-01"],
        "replay": ["x"],
    }
    result = CliRunner().invoke(cli, [name, *arguments.get(name, [])])
    assert (result.exit_code, "Traceback" in result.output) == (130, False)


@pytest.mark.parametrize(
    ("arguments", "variables", "exit_code", "line"),
    [
        (["nonsense"], {}, 2, "No such command"),
        (["up", "--nonsense"], {}, 2, "No such option"),
        (["up"], {"KAFKA_PORT": "kafka"}, 2, "KAFKA_PORT=kafka is not a port"),
        (["up"], {"KAFKA_PORT": "70000"}, 2, "KAFKA_PORT=70000 is not a port"),
        (["up"], {"KAFKA_PORT": "8083"}, 2, "two services cannot share a port"),
        (["up"], {"ALL_PROXY": "socks5://h:1"}, 2, "ALL_PROXY=.* SOCKS"),
        (["fetch"], {"MASTODON_PIPELINE_CACHE": "/dev/null/cache"}, 1, "/dev/null"),
        (["logs", "nonsense"], {}, 2, "there is no log of nonsense"),
        (["logs"], {}, 2, "there is no log of any program"),
        (["logs", "-n", "all"], {}, 2, "Invalid value"),
        (["clean"], {}, 2, "no stack.env of a native stack"),
        (["status"], {}, 1, "is not running"),
        (["down"], {}, 0, "is not running"),
    ],
)
def test_wrong_use_of_the_native_stack(
    arguments: list[str],
    variables: dict[str, str],
    exit_code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    default_signals: None,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["native_stack", *arguments])
    try:
        native_stack.main()
        code: object = 0
    except SystemExit as ended:
        code = ended.code
    output = "".join(capfd.readouterr())
    assert "Traceback" not in output
    assert re.search(line, output.strip().splitlines()[-1]), output
    assert code == exit_code


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--servers", "0"], "'--servers'"),
        (["--toots", "0"], "'--toots'"),
        (["--hours", "a day"], "'--hours'"),
        (["--first-port", "x"], "'--first-port'"),
        (["x"], "unexpected extra argument"),
    ],
)
def test_wrong_use_of_the_demo(arguments: list[str], line: str) -> None:
    check(CliRunner().invoke(infra.demo.demo, arguments), 2, line)


@pytest.fixture
def default_signals() -> Iterator[None]:
    """Put back the handlers that the native stack's commands replace."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
