"""The queries: each is a `.sql` file in the folder `sql` beside the code that runs it."""

from functools import cache
from importlib.resources import files


@cache
def query(name: str) -> str:
    """Return the text of a query: `usage/tables/toots` is `usage/tables/sql/toots.sql`."""
    room, _, stem = name.rpartition("/")
    return files("mastodon_pipeline").joinpath(room, "sql", f"{stem}.sql").read_text("utf-8")
