"""`mastodon-pipeline sql`: questions to the lake, in SQL."""

import re
import sys
from typing import TYPE_CHECKING

import click

from mastodon_pipeline.errors import QueryFailed

if TYPE_CHECKING:
    from mastodon_pipeline.cli.query_printing import Output


@click.command(
    epilog="Addresses and keys come from the settings: S3_ENDPOINT, S3_BUCKET, AWS_ACCESS_KEY_ID, "
    "AWS_SECRET_ACCESS_KEY. The views only read, and lock nobody out; COPY ... TO 's3://...' "
    "writes what the keys may write, so give readers keys that only read. live reads Kafka, too: "
    "KAFKA_BOOTSTRAP_SERVERS, SCHEMA_REGISTRY_URL. For notebooks: connect_views() in "
    "mastodon_pipeline.usage.views."
)
@click.argument("statement", required=False)
@click.option("--csv", "output", flag_value="csv", help="Print as CSV, all rows.")
@click.option("--json", "output", flag_value="json", help="Print as a JSON array, all rows.")
def sql(statement: str | None, output: "Output | None") -> None:
    """Query the lake in SQL: DuckDB, with a view for every table.

    Without STATEMENT it prompts for statements (each ends with a semicolon, Ctrl-D leaves), or
    reads them from standard input.

    \b
    Which tables there are, and their columns:
      mastodon-pipeline sql "SHOW TABLES"
      mastodon-pipeline sql "DESCRIBE toots_per_server_per_hour"
    \b
    The busiest servers of a day; naming the day reads only that day's files:
      mastodon-pipeline sql "SELECT server, sum(toots) AS toots FROM toots_per_server_per_hour
        WHERE day = current_date GROUP BY server ORDER BY toots DESC LIMIT 10"
    \b
    What Kafka took up to a second ago is counted in live.TABLE, the same tables:
      mastodon-pipeline sql "SELECT server, toots FROM live.toots_per_server_per_hour
        WHERE hour = date_trunc('hour', now()) ORDER BY toots DESC"
    \b
    The apps of all days, as CSV:
      mastodon-pipeline sql --csv "SELECT app, sum(toots) AS toots FROM app_usage
        GROUP BY app ORDER BY toots DESC" > apps.csv
    \b
    As the article asks, by its own columns:
      mastodon-pipeline sql "SELECT language, count(*), avg(characters) FROM mastodon_toot
        WHERE NOT bot GROUP BY language ORDER BY 2 DESC LIMIT 10"

    Exit codes: 0 done; 1 a statement is wrong, or the object store does not answer, or, if it asks
    live, Kafka or the schema registry; 130 Ctrl-C.
    """
    import duckdb

    from mastodon_pipeline.cli.query_printing import print_results, reason
    from mastodon_pipeline.lake.without_pandas import without_pandas
    from mastodon_pipeline.settings import load_settings
    from mastodon_pipeline.usage.views import open_views

    prompts = statement is None and sys.stdin.isatty()
    statements = "" if prompts else sys.stdin.read() if statement is None else statement
    live = prompts or re.search(r"\blive\b", statements, re.IGNORECASE) is not None
    try:
        with without_pandas(), open_views(load_settings(), live=live, say=_say) as connection:
            if prompts:
                from mastodon_pipeline.cli.sql_prompt import prompt

                prompt(connection, output or "table")
                return
            if sys.stderr.isatty() and output is None:
                connection.execute("SET enable_progress_bar = true")
            print_results(connection, statements, output or "table")
    except duckdb.Error as error:
        raise QueryFailed(reason(error)) from error


def _say(note: str) -> None:
    click.echo(f"mastodon-pipeline: live: {note}", err=True)
