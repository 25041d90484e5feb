"""Names of the colour channels in logs, tables and headers."""

from __future__ import annotations


def channel_names(channels: int) -> tuple[str, ...]:
    """Names of the channels in logs and tables."""
    return ("R", "G", "B") if channels == 3 else ("L",)
