"""File names as text: those that are no text on this system are written with their bytes escaped."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

_ESCAPED_BYTE = re.compile(r"\\x([89a-f][0-9a-f])")


def shown_name(name: str | Path) -> str:
    r"""The name as text that any file and any terminal can hold.

    Parameters
    ----------
    name : str or Path
        As the system gives it. Bytes that are not UTF-8 come as lone surrogates (PEP 383).

    Returns
    -------
    str
        The same with each such byte as ``\xNN``; what else no encoding can hold as ``\uNNNN``.
    """
    text = str(name)
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a character of UTF-16, as Windows lets it pass
        return text.encode("utf-8", "backslashreplace").decode()


_LONGEST, _BEGINNING, _END = 400, 250, 100  # characters


def tidy_text(text: str) -> str:
    """A value for a sentence: control characters escaped, and the middle of a very long one left out."""
    if len(text) > _LONGEST:
        text = f"{text[:_BEGINNING]} ... {text[-_END:]}"
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in shown_name(text)
    )


def name_on_disk(text: str) -> str:
    """The name that `shown_name` wrote, as the system gives it."""
    return _ESCAPED_BYTE.sub(lambda match: chr(0xDC00 + int(match[1], 16)), text)


def comparable_name(name: str) -> str:
    """The name without what differs between systems: capitals, and how accents are composed (Unicode's form C)."""
    return unicodedata.normalize("NFC", name).lower()
