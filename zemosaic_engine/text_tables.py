"""Text of tables that people and programs keep: its encoding, and the line in which Excel names the separator."""

from __future__ import annotations

import re

#: ``sep=;``: what Excel writes and reads in the first line.
SEPARATOR_LINE = re.compile(r"\s*\"?sep=(.)\"?\s*", re.IGNORECASE)


def decoded(data: bytes) -> str:
    """Return the text in a file: UTF-16 with a byte-order mark, UTF-8, or what spreadsheets on Windows write."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")
