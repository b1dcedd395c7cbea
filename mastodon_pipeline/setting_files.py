"""The files that settings come from, in whatever encoding an editor wrote them."""

import codecs
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

from mastodon_pipeline.errors import SettingsError

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_settings_text(path: Path) -> str:
    """Return a file's text: UTF-8, or UTF-16 with a byte order mark, as Windows' editors write it.

    Raises:
        FileNotFoundError: there is no such file.
        SettingsError: it cannot be read, or is in another encoding.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except IsADirectoryError:
        raise SettingsError(f"{path} is a directory, and a file is wanted") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    encoding = "utf-8"
    for mark, name in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            content, encoding = content.removeprefix(mark), name
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise SettingsError(f"{path} is not text in UTF-8: save it as UTF-8")
    return text


def read_variables(path: Path) -> Mapping[str, str | None]:
    """Return the variables of a file like `.env`; none if there is no such file.

    Raises SettingsError as `read_settings_text` does.
    """
    try:
        text = read_settings_text(path)
    except FileNotFoundError:
        return {}
    return dotenv_values(stream=StringIO(text))
