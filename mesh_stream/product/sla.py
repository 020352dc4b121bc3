"""Reads what a product promises: durations such as `15_minutes`, availability such as `99.9%`."""

from __future__ import annotations

import re
from decimal import Decimal

UNITS = {
    "millisecond": Decimal("0.001"),
    "second": Decimal(1),
    "minute": Decimal(60),
    "hour": Decimal(3600),
    "day": Decimal(86_400),
    "week": Decimal(604_800),
}
# Only what nobody reads as something else: `m` is minutes to some tools and months to others.
_SHORT = {"ms": "millisecond", "s": "second", "min": "minute", "h": "hour", "d": "day"}

_DURATION = re.compile(r"(?P<count>[0-9]{1,9}(?:\.[0-9]{1,3})?)[ _]?(?P<unit>[a-z]+)")
_PERCENT = re.compile(r"(?P<number>[0-9]{1,3}(?:\.[0-9]{1,9})?) ?%")

DURATION_EXPECTED = (
    "a duration such as 15_minutes, 30_seconds, 1_hour or 90_days "
    "(milliseconds, seconds, minutes, hours, days, weeks)"
)
AVAILABILITY_EXPECTED = "a percentage above 0% and at most 100%, such as 99.9%"


class UnreadableError(ValueError):
    """A declared value is not of its form.

    Attributes:
        expected: What may stand there.
        remedy: What to do about it, or empty.
        found: What stands there, where the value itself would not say it.
    """

    def __init__(self, expected: str, remedy: str = "", *, found: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.remedy = remedy
        self.found = found


def duration_seconds(text: object) -> Decimal:
    """Reads a duration; exact, in seconds, above zero.

    Raises:
        UnreadableError: It is not a duration, or is zero.
    """
    remedy = ""
    if isinstance(text, int | float) and not isinstance(text, bool):
        remedy = f"add the unit: {text}_minutes?"
    if not isinstance(text, str) or not (match := _DURATION.fullmatch(text)):
        raise UnreadableError(DURATION_EXPECTED, remedy)
    unit = _SHORT.get(match["unit"], match["unit"])
    size = UNITS.get(unit) or UNITS.get(unit.removesuffix("s"))
    if size is None:
        remedy = "write minutes or months out" if unit == "m" else ""
        raise UnreadableError(DURATION_EXPECTED, remedy)
    seconds = Decimal(match["count"]) * size
    if not seconds:
        raise UnreadableError("a duration above zero")
    return seconds


def duration_text(milliseconds: int) -> str:
    """Writes a duration as one declares it, in its largest whole unit: `1_hour`, `90_minutes`."""
    sizes = {unit: int(seconds * 1000) for unit, seconds in reversed(UNITS.items())}
    unit = next(unit for unit, size in sizes.items() if milliseconds % size == 0)
    count = milliseconds // sizes[unit]
    return f"{count}_{unit}{'' if count == 1 else 's'}"


def availability_share(text: object) -> Decimal:
    """Reads an availability; exact, as a share of 1: `99.9%` is 0.999.

    Raises:
        UnreadableError: It is not a percentage, or out of range.
    """
    remedy = ""
    if isinstance(text, int | float) and not isinstance(text, bool):
        percent = Decimal(str(text)) * (100 if text <= 1 else 1)
        remedy = f"write it with the sign: {percent.normalize():f}%?"
    if not isinstance(text, str) or not (match := _PERCENT.fullmatch(text)):
        raise UnreadableError(AVAILABILITY_EXPECTED, remedy)
    share = Decimal(match["number"]) / 100
    if not 0 < share <= 1:
        raise UnreadableError(AVAILABILITY_EXPECTED)
    return share
