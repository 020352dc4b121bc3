"""How old things are: a histogram that takes a whole transaction at the cost of one sort, or less.

Buckets as Prometheus has them: what is as old as a bound is within it. One lies exactly at the
objective, so that the share of good records is read off and never guessed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple, Self

_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 900, 3600, 86_400)


class Span(NamedTuple):
    """What a number of moments have in common, milliseconds: often all that has to be known."""

    size: int
    oldest: int
    newest: int
    total: int

    @classmethod
    def of(cls, moments: Sequence[int]) -> Self:
        """The span of some moments; of one at least."""
        return cls(len(moments), min(moments), max(moments), sum(moments))


class Spread:
    """A histogram of ages.

    Args:
        objective: Seconds at which a bucket ends, besides the usual ones.
    """

    def __init__(self, objective: float) -> None:
        self._bounds = sorted({*_BOUNDS, objective})
        self._limits = [bound * 1000 for bound in self._bounds]
        self._counts = [0] * (len(self._bounds) + 1)
        self.sum = 0.0
        """Seconds, all of them together."""

    def add(self, moments: list[int], now: int) -> None:
        """Add what is as old as these moments are now.

        One that is yet to come is between two clocks that differ: it counts as no age at all.

        Args:
            moments: In any order, milliseconds; sorted in place where that is of use.
            now: Milliseconds, too.
        """
        if not moments or self.takes(Span.of(moments), now):
            return
        moments.sort()
        past = moments[: bisect_left(moments, now)]
        self.sum += (now * len(past) - sum(past)) / 1000
        older = len(moments)
        for index, limit in enumerate(self._limits):
            upto = bisect_left(moments, now - limit)
            self._counts[index] += older - upto
            older = upto
        self._counts[-1] += older

    def takes(self, span: Span, now: int) -> bool:
        """Add moments by their span, where that says all: they are of one bucket, none to come.

        The common case of a backlog. Otherwise False, and nothing is added.
        """
        bucket = self._bucket(now - span.newest)
        if span.newest > now or bucket != self._bucket(now - span.oldest):
            return False
        self.sum += (now * span.size - span.total) / 1000
        self._counts[bucket] += span.size
        return True

    def _bucket(self, age: int) -> int:
        return bisect_left(self._limits, age)

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, how many are within it), as Prometheus has them."""
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        return list(zip(bounds, accumulate(self._counts), strict=True))
