"""How fast an error budget may burn, and over which windows that is looked at.

The windows are numbers of minutes. A rehearsal has shorter minutes and is otherwise the same: the
windows keep their names, so that rules, dashboards and what looks at them stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

MINUTE = 60.0
"""Seconds."""
WINDOWS = {"5m": 5, "30m": 30, "1h": 60, "2h": 120, "6h": 360, "1d": 1440, "3d": 4320}
"""Name of a window -> its minutes."""
PERIOD = "30d"
"""The name of the window that the error budget is for."""
PERIOD_DAYS = 30
SLOW, SLOW_MINUTES = frozenset({"1d", "3d"}), 2
"""Windows over so many samples that they are looked at every so many minutes only."""


@dataclass(frozen=True, slots=True)
class Burn:
    """A rate that the budget must not burn at, in two windows at once.

    The long one makes it matter, the short one has it end soon after it is over (SRE Workbook,
    chapter 5, "Multiwindow, Multi-Burn-Rate Alerts"; the numbers are its own, for 30 days).

    Attributes:
        severity: Whom it is for: `page` or `ticket`.
        factor: How many times as fast as the budget allows.
        short: The short window's name.
        long: The long window's name.
    """

    severity: str
    factor: Fraction
    short: str
    long: str


BURNS = (
    Burn("page", Fraction("14.4"), "5m", "1h"),
    Burn("page", Fraction(6), "30m", "6h"),
    Burn("ticket", Fraction(3), "2h", "1d"),
    Burn("ticket", Fraction(1), "6h", "3d"),
)
SEVERITIES = ("page", "ticket")

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))


def duration(minutes: float, minute: float) -> str:
    """Writes so many minutes as Prometheus reads them: one number, in the largest whole unit.

    Args:
        minutes: How many.
        minute: How many seconds one lasts.
    """
    milliseconds = max(1, round(minutes * minute * 1000))
    unit, size = next(found for found in _UNITS if milliseconds % found[1] == 0)
    return f"{milliseconds // size}{unit}"


def window(name: str, minute: float) -> str:
    """Writes a window's length as Prometheus reads it."""
    return duration(PERIOD_DAYS * 1440 if name == PERIOD else WINDOWS[name], minute)
