"""The first indicator of freshness, counted: each fact from its event time to its commit.

Told a whole transaction at once, since it is on the hot path: where all facts came in time, nothing
here is called for each of them. What makes a fact late, and whose that is, says `sli.py`.
"""

from __future__ import annotations

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
        happened, came = times, arrivals
        if min(times) < 0 or min(arrivals) < 0:
            # Something does not say when it happened or arrived: it is not measured in that.
            came = [arrived for arrived in arrivals if arrived >= 0]
            pairs = [pair for pair in zip(times, arrivals, strict=True) if pair[0] >= 0]
            times, arrivals = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            happened = times
            early = [when - arrived for when, arrived in pairs if arrived >= 0]
        else:
            early = list(map(sub, times, arrivals))
        late = _before(happened, at - self._limit)
        self.good += len(happened) - late
        if late:
            self._blame(times, arrivals, early, at, late)
        # Copies: what is sorted must not lose which arrival belongs to which event.
        self.freshness.add(happened[:], at)
        self.residence.add(came[:], at)
        # So long before the arrival, which is the now of this one.
        self.upstream_age.add(early, 0)

    def _blame(
        self, times: list[int], arrivals: list[int], early: list[int], at: int, late: int
    ) -> None:
        """Say whose the late facts are; ours where one does not say when it arrived."""
        limit = self._limit
        if max(arrivals) <= at:
            # Late at its arrival is late now.
            upstream = _before(early, -limit)
        else:
            upstream = sum(
                at - when > limit and arrived - when > limit
                for when, arrived in zip(times, arrivals, strict=True)
            )
        self.bad[Blame.UPSTREAM] += upstream
        self.bad[Blame.OWN] += late - upstream


def _before(moments: list[int], limit: float) -> int:
    """How many lie before a limit; most often all of them, or none."""
    if not moments or min(moments) >= limit:
        return 0
    if max(moments) < limit:
        return len(moments)
    return sum(moment < limit for moment in moments)
