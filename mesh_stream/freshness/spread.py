"""How moments spread: a histogram that takes a whole transaction at the cost of one sort.

Buckets as Prometheus has them: what is as old as a bound is within it. One lies exactly at the
objective, so that the share of good records is read off and never guessed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate

_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 900, 3600, 86_400)


class Spread:
    """A histogram of spans of time.

    Args:
        objective: Seconds at which a bucket ends, besides the usual ones.
    """

    def __init__(self, objective: float) -> None:
        self._bounds = sorted({*_BOUNDS, objective})
        self._counts = [0] * (len(self._bounds) + 1)
        self.sum = 0.0
        """Seconds, all of them together."""

    def add(self, spans: Iterable[int]) -> list[int]:
        """Add spans in milliseconds; returns them in order.

        One below zero is between two clocks that differ: it counts as none at all.
        """
        ordered = sorted(spans)
        self.sum += sum(ordered[bisect_right(ordered, 0) :]) / 1000
        below = 0
        for index, bound in enumerate(self._bounds):
            upto = bisect_right(ordered, bound * 1000)
            self._counts[index] += upto - below
            below = upto
        self._counts[-1] += len(ordered) - below
        return ordered

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, how many are within it), as Prometheus has them."""
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        return list(zip(bounds, accumulate(self._counts), strict=True))
