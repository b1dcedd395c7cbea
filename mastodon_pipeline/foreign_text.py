"""Short texts of strangers (reasons, versions, domains, headers) as one clean line.

A server may send anything: half characters that UTF-8 cannot encode, terminal escapes, marks that
turn the direction of writing, megabytes. They are cleaned where they enter, so that nothing that
logs, saves or shows them has to be careful.
"""

MAX_LINE_CHARACTERS = 300


def clean_line(text: object, max_characters: int = MAX_LINE_CHARACTERS) -> str:
    """Return a text as one printable line that UTF-8 can encode, cut to a length.

    White space becomes single spaces, every other character that cannot be printed U+FFFD.
    """
    beginning = str(text)[: 4 * max_characters]  # Before any work on what may be megabytes.
    if not beginning.isprintable():
        beginning = "".join(map(_printable, beginning))
    line = " ".join(beginning.split())
    return line if len(line) <= max_characters else f"{line[: max_characters - 1]}…"


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else "\N{REPLACEMENT CHARACTER}"
