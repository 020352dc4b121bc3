"""The first indicator of freshness, counted: each fact from its event time to its commit.

Told a whole transaction at once, since it is on the hot path: where all facts came in time, nothing
here is called for each of them. What makes a fact late, and whose that is, says `sli.py`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from operator import sub

from mesh_stream.freshness.sli import Blame
from mesh_stream.freshness.spread import Spread
from mesh_stream.runtime.report import Committed


class Records:
    """What became of a product's facts, by their age.

    Args:
        freshness: The objective, in seconds.

    Attributes:
        freshness: From event time to commit.
        upstream_age: From event time to the input record's arrival.
        residence: From its arrival to commit.
        good: Facts within the objective.
        bad: Those that are not, by whose that is.
    """

    def __init__(self, freshness: float) -> None:
        self.freshness = Spread(freshness)
        self.upstream_age = Spread(freshness)
        self.residence = Spread(freshness)
        self.good = 0
        self.bad: Counter[Blame] = Counter(dict.fromkeys(Blame, 0))
        self._limit = freshness * 1000

    @property
    def total(self) -> int:
        """Facts that say when they happened."""
        return self.good + self.bad.total()

    def add(self, transaction: Committed) -> None:
        """Add the facts of one transaction."""
        at, times, arrivals = transaction.at, transaction.event_times, transaction.arrivals
        if not times:
            return
        # As they come they are nearly in order, so that sorting them costs next to nothing.
        happened, came = sorted(times), sorted(arrivals)
        if happened[0] < 0 or came[0] < 0:
            # Something does not say when it happened or arrived: it is not measured in that.
            del came[: bisect_left(came, 0)]
            del happened[: bisect_left(happened, 0)]
            pairs = [pair for pair in zip(times, arrivals, strict=True) if pair[0] >= 0]
            times, arrivals = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            early = sorted(when - arrived for when, arrived in pairs if arrived >= 0)
        else:
            early = sorted(map(sub, times, arrivals))
        self.freshness.add(happened, at)
        self.residence.add(came, at)
        # So long before the arrival, which is the now of this one.
        self.upstream_age.add(early, 0)
        late = bisect_left(happened, at - self._limit)
        self.good += len(happened) - late
        if late:
            self._blame(times, arrivals, early, at, late)

    def _blame(
        self, times: list[int], arrivals: list[int], early: list[int], at: int, late: int
    ) -> None:
        """Say whose the late facts are; ours where one does not say when it arrived."""
        limit = self._limit
        if max(arrivals) <= at:
            # Late at its arrival is late now, and this is in order.
            upstream = bisect_left(early, -limit)
        else:
            upstream = sum(
                at - when > limit and arrived - when > limit
                for when, arrived in zip(times, arrivals, strict=True)
            )
        self.bad[Blame.UPSTREAM] += upstream
        self.bad[Blame.OWN] += late - upstream
