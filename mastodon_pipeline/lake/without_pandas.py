"""DuckDB without pandas, for programs that have no use for it: it takes a second and 100 MB."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder


class _NoPandas(MetaPathFinder):
    """Finds no pandas, as where it is not installed."""

    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas takes a second to import", name=fullname)


@contextmanager
def without_pandas() -> Iterator[None]:
    """Let DuckDB go without pandas, unless something has imported it already.

    DuckDB imports it with the first parameter of a statement, to see whether that is
    `pandas.NaT`: a second of CPU, which is more than all the rest of `sql "SELECT 1"`. A None in
    `sys.modules` would do for DuckDB, but pyarrow, which live views use, takes that for pandas.
    """
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
