"""How what others wrote is shown on a terminal."""

from __future__ import annotations

from datetime import UTC, datetime


def printable(text: str) -> str:
    """Returns a text without what a terminal would obey: records are anybody's writing."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def moment(millis: int | None) -> str | None:
    """Returns a time in ISO 8601, UTC; None for one that is none, or beyond the calendar."""
    if millis is None or millis < 0:
        return None
    try:
        found = datetime.fromtimestamp(millis / 1000, UTC)
    except (OverflowError, ValueError):
        return None
    return f"{found:%Y-%m-%dT%H:%M:%S}.{millis % 1000:03d}Z"
