"""How old things are: a histogram that takes a whole transaction at the cost of one sort.

Buckets as Prometheus has them: what is as old as a bound is within it. One lies exactly at the
objective, so that the share of good records is read off and never guessed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 900, 3600, 86_400)


class Spread:
    """A histogram of ages.

    Args:
        objective: Seconds at which a bucket ends, besides the usual ones.
    """

    def __init__(self, objective: float) -> None:
        self._bounds = sorted({*_BOUNDS, objective})
        self._counts = [0] * (len(self._bounds) + 1)
        self.sum = 0.0
        """Seconds, all of them together."""

    def add(self, moments: Sequence[int], now: int) -> None:
        """Add what is as old as these moments are now; they are in order, all in milliseconds.

        One that is yet to come is between two clocks that differ: it counts as no age at all.
        """
        past = moments[: bisect_left(moments, now)]
        self.sum += (now * len(past) - sum(past)) / 1000
        older = len(moments)
        for index, bound in enumerate(self._bounds):
            upto = bisect_left(moments, now - bound * 1000)
            self._counts[index] += older - upto
            older = upto
        self._counts[-1] += older

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, how many are within it), as Prometheus has them."""
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        return list(zip(bounds, accumulate(self._counts), strict=True))
