"""How old the newest fact has been, for the last hour: a ring for each product."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from threading import Lock

from mesh_stream.console.shown import verdict_of
from mesh_stream.freshness.reading import Reading
from mesh_stream.freshness.sli import State

KEPT_SECONDS = 3_600.0
SAMPLE_SECONDS = 5.0
"""One every so often: 720 in an hour, more than the line has pixels to show."""

Point = tuple[float, float | None]
"""A moment in seconds since the epoch, and an age in seconds; None: nobody could look."""


class History:
    """The rings; written by the looking thread, read by the page's.

    Args:
        products: Names of the products.
    """

    def __init__(self, products: Iterable[str]) -> None:
        kept = int(KEPT_SECONDS / SAMPLE_SECONDS)
        self._rings: dict[str, deque[Point]] = {name: deque(maxlen=kept) for name in products}
        self._due = 0.0
        self._lock = Lock()

    def take(self, readings: Mapping[str, Reading]) -> None:
        """Keep these readings, if it is time for the next."""
        at = max((reading.at for reading in readings.values()), default=0.0)
        if at < self._due:
            return
        self._due = at + SAMPLE_SECONDS
        with self._lock:
            for name, reading in readings.items():
                seen = verdict_of(reading).state is not State.UNKNOWN
                self._rings[name].append((at, reading.age if seen else None))

    def fill(self, name: str, earlier: Iterable[Point]) -> None:
        """Put what somebody else has kept before what is here."""
        with self._lock:
            ring = self._rings[name]
            first = ring[0][0] if ring else float("inf")
            before = [point for point in sorted(earlier, key=_moment) if point[0] < first]
            room = (ring.maxlen or 0) - len(ring)
            ring.extendleft(reversed(before[-room:] if room else ()))

    def points(self, name: str, now: float) -> list[Point]:
        """What is kept of the last hour, in order."""
        with self._lock:
            return [point for point in self._rings[name] if now - point[0] <= KEPT_SECONDS]


def _moment(point: Point) -> float:
    return point[0]
