"""How figures, times and rules are put into words on the page. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from urllib.parse import urlsplit

from mesh_stream.freshness.sli import Blame, Objective, State, Verdict
from mesh_stream.product.product import (
    Between,
    Check,
    Holds,
    Hopping,
    InSet,
    IsNull,
    LengthBetween,
    MatchesRegex,
    NotNull,
    OfType,
    Product,
    Rule,
    Session,
)
from mesh_stream.product.product import State as Kept

NONE = "\N{EN DASH}"
"""Stands where there is no figure."""
ICONS = {State.FRESH: "\N{CHECK MARK}", State.IDLE: "=", State.STALE: "!", State.UNKNOWN: "?"}
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_MOST_SHOWN = 6


def span(seconds: float | None) -> str:
    """A duration in its two largest units; `1.4 s` where it is short."""
    if seconds is None:
        return NONE
    if math.isinf(seconds):
        return "for ever"
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    left, parts = int(seconds), []
    for unit, size in _UNITS:
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2])


def rate(per_second: float | None) -> str:
    """Records a second, as precise as a reader can use."""
    if per_second is None:
        return NONE
    return f"{per_second:,.1f}" if 0 < per_second < 10 else f"{per_second:,.0f}"


def share(of_one: float | None) -> str:
    """A share in percent; never 100% where something is missing."""
    if of_one is None:
        return NONE
    percent = of_one * 100
    if 99.99 <= percent < 100:
        percent = 99.99
    return f"{percent:.2f}".rstrip("0").rstrip(".") + "%"


def moment(seconds: float | None) -> str:
    """A moment in UTC; the dash for one that is none, or beyond the calendar."""
    if not seconds:
        return NONE
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return NONE


def ago(seconds: float, now: float) -> str:
    """How long a moment is past; the dash for none."""
    return f"{span(max(0.0, now - seconds))} ago" if seconds else NONE


def size(count: int | None) -> str:
    """A number of bytes."""
    if count is None:
        return "null"
    return f"{count:,} B" if count < 10_000 else f"{count / 1000:,.1f} kB"


def fault(verdict: Verdict) -> str:
    """Whose a bad state is; empty for a good one."""
    match verdict.blame:
        case Blame.OWN:
            return "its own fault"
        case Blame.UPSTREAM:
            return "its inputs are late"
        case Blame.UNSEEN:
            return "nobody can look"
        case _:
            return ""


def promise(objective: Objective) -> str:
    """What is promised of freshness."""
    text = span(objective.freshness)
    if math.isinf(objective.cadence):
        return f"{text} after a session ends"
    return f"{text} after a window of {span(objective.cadence)}" if objective.cadence else text


def rule(stated: Rule) -> str:
    """What a rule checks."""
    return f"{stated.column} {_check(stated.check)}" if stated.column else _check(stated.check)


def _check(check: Check) -> str:
    match check:
        case NotNull():
            return "is there"
        case IsNull():
            return "is null"
        case Between():
            return " and ".join(_bounds(check)) or "is anything"
        case InSet(values, negated):
            named = [repr(value) for value in values[:_MOST_SHOWN]]
            more = len(values) - len(named)
            rest = f" and {more} more" if more else ""
            return f"is {'none' if negated else 'one'} of {', '.join(named)}{rest}"
        case MatchesRegex(pattern, negated):
            return f"{'never contains' if negated else 'matches'} {pattern}"
        case LengthBetween(minimum, maximum):
            low = f"at least {minimum}" if minimum is not None else ""
            high = f"at most {maximum}" if maximum is not None else ""
            return f"has a length of {' and '.join(filter(None, (low, high))) or 'anything'}"
        case OfType(types):
            return f"is {' or '.join(kind.__name__ for kind in types)}"
        case Holds(predicate):
            return f"{getattr(predicate, '__name__', 'a predicate')}(record) is true"


def _bounds(check: Between) -> list[str]:
    found = []
    if check.minimum is not None:
        found.append(f"{'is more than' if check.strict_minimum else 'is at least'} {check.minimum}")
    if check.maximum is not None:
        found.append(f"{'is less than' if check.strict_maximum else 'is at most'} {check.maximum}")
    return found


def state(kept: Kept) -> list[tuple[str, str]]:
    """What a product remembers, as pairs of what and how."""
    match kept.window:
        case Hopping(window, advance) if window == advance:
            windows = f"of {span(window / 1000)}, one after the other"
        case Hopping(window, advance):
            windows = f"of {span(window / 1000)}, one every {span(advance / 1000)}"
        case Session(gap):
            windows = f"sessions that end after {span(gap / 1000)} without an event"
        case _:
            windows = "none"
    return [
        ("Fold", kept.fold.origin),
        ("Key", kept.key or "none: one state for the whole product"),
        ("Windows", windows),
        ("Grace", span(kept.grace / 1000) if kept.window else NONE),
        ("Emits", kept.emit.replace("_", " ")),
        ("Late events", kept.late.replace("_", " ")),
        ("Kept for", span(kept.ttl / 1000) if kept.ttl is not None else "as long as needed"),
        ("Rekeyed", "by its own topic" if kept.repartitions else "no"),
    ]


def link(url: str) -> str:
    """An address that may be linked to: http(s) or mail, and nothing a browser would run."""
    try:
        return url if urlsplit(url).scheme.lower() in {"http", "https", "mailto"} else ""
    except ValueError:
        return ""


def full_name(product: Product) -> str:
    """`<domain>/<product>`."""
    return f"{product.domain}/{product.name}"
