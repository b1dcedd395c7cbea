"""The usage stage's queries, one a file, and how the stage reads them."""

from importlib.resources import files

__all__ = ["query"]


def query(name: str) -> str:
    """The text of `<name>.sql` in this folder."""
    return files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
