"""Which modules `pytest -m` leaves out whole: a worker that need not import them starts sooner.

Every process of a test session imports this, so it imports nothing that takes long.
"""

import re

_OF_ALL_TESTS = re.compile(r"^pytestmark = (\[[^\]]*\]|.*)", re.MULTILINE)
_MARK = re.compile(r"pytest\.mark\.(\w+)")
_BY_FIXTURES = {"integration"}


def leaves_out(expression: str, source: str) -> bool:
    """Return whether `pytest -m expression` selects no test of the module with this source.

    False also where the expression is more than marks, or their negation, joined by `and`.
    """
    if not expression or " or " in expression or "(" in expression:
        return False
    declaration = _OF_ALL_TESTS.search(source)
    of_all = set(_MARK.findall(declaration[1])) if declaration else set()
    of_some = {*_MARK.findall(source), *_BY_FIXTURES}
    for term in expression.split(" and "):
        mark = term.removeprefix("not ")
        if mark in of_all if term != mark else mark not in of_some:
            return True
    return False
