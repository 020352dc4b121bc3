"""Windows of event time: which ones an event belongs to, and what is too late for them.

Times are milliseconds since the epoch (UTC). A window holds its start and not its end. Hopping
windows begin at every multiple of `advance`, so that they are the same for every key and machine.

What is late is decided by the event's own source alone (the highest event time that the same input
partition has brought before), and a window closes when every source has gone past its end and the
grace. So an event that is not late finds its windows open, however the sources interleave:

    hopping    late for a window:  end + grace <= highest of its source
               the window closes:  end + grace <= lowest of all sources' highest
    session    late:               time + grace < highest of its source
               the session closes: last event + gap + grace <= lowest of all sources' highest

An event joins a session while its time is less than `gap` from it. One that is not late lies at
least that far behind the last event of every closed session, so it could not have joined any.

The lowest over sources is the watermark of the Dataflow model (Akidau et al., VLDB 2015, 2.3).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from mesh_stream.product.product import Hopping

NEVER = -(1 << 62)
"""Before every event: a source that has brought none."""
NOWHEN = -1
"""The time of an event where nobody asks for it."""

FIRST, LAST = -62_135_596_800_000, 253_402_300_799_999
"""The first and the last moment that a `datetime` can be, in milliseconds."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BIAS = 1 << 63


class Window(NamedTuple):
    """A stretch of event time, as a product's `fact` sees it.

    Attributes:
        start: Its first moment (UTC). Of a session: its first event.
        end: The first moment after it. Of a session: its last event.
    """

    start: datetime
    end: datetime


def window(start: int, end: int) -> Window:
    """A window between two times in milliseconds since the epoch.

    Raises:
        OverflowError: A time lies outside the years 1 to 9999.
    """
    return Window(
        EPOCH + timedelta(milliseconds=start),
        EPOCH + timedelta(milliseconds=end),
    )


def starts(at: int, shape: Hopping) -> range:
    """Where the windows begin that hold a time, earliest first."""
    last = at - at % shape.advance
    reach = (shape.size - 1 - at % shape.advance) // shape.advance
    return range(last - reach * shape.advance, last + 1, shape.advance)


def ordered(at: int) -> bytes:
    """A time as eight bytes that sort as times do."""
    return (at + _BIAS).to_bytes(8, "big")


def unordered(encoded: bytes) -> int:
    """The time that `ordered` wrote."""
    return int.from_bytes(encoded, "big") - _BIAS
