"""The first indicator of freshness, counted: each fact from its event time to its commit.

Told a whole transaction at once, since it is on the hot path: where all facts came in time, nothing
here is called for each of them. What makes a fact late, and whose that is, says `sli.py`.
"""

from __future__ import annotations

from collections import Counter
from operator import sub

from mesh_stream.freshness.sli import Blame
from mesh_stream.freshness.spread import Span, Spread
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
        times, arrivals = transaction.event_times, transaction.arrivals
        if not times:
            return
        at = transaction.at
        happened, came = Span.of(times), Span.of(arrivals)
        if happened.oldest < 0 or came.oldest < 0:
            self._add_some(times, arrivals, at)
            return
        # How long before their arrivals: as far as the two spans say. The now of it is the arrival.
        early = Span(
            happened.size,
            happened.oldest - came.newest,
            happened.newest - came.oldest,
            happened.total - came.total,
        )
        late = _before(happened, times, at - self._limit)
        self.good += happened.size - late
        if late and came.newest <= at and early.newest < -self._limit:
            # Late at its arrival is late now: all of them are.
            self.bad[Blame.UPSTREAM] += late
        elif late:
            self._blame(times, arrivals, at, late)
        # Copies: what is sorted must not lose which arrival belongs to which event.
        if not self.freshness.takes(happened, at):
            self.freshness.add(times[:], at)
        if not self.residence.takes(came, at):
            self.residence.add(arrivals[:], at)
        if not self.upstream_age.takes(early, 0):
            self.upstream_age.add(list(map(sub, times, arrivals)), 0)

    def _add_some(self, times: list[int], arrivals: list[int], at: int) -> None:
        """As `add`, where one does not say when it happened or arrived: that is not measured."""
        pairs = [pair for pair in zip(times, arrivals, strict=True) if pair[0] >= 0]
        happened = [when for when, _ in pairs]
        late = sum(at - when > self._limit for when in happened)
        self.good += len(happened) - late
        if late:
            self._blame(happened, [arrived for _, arrived in pairs], at, late)
        self.freshness.add(happened, at)
        self.residence.add([arrived for arrived in arrivals if arrived >= 0], at)
        self.upstream_age.add([when - arrived for when, arrived in pairs if arrived >= 0], 0)

    def _blame(self, times: list[int], arrivals: list[int], at: int, late: int) -> None:
        """Say whose the late facts are; ours where one does not say when it arrived."""
        limit = self._limit
        upstream = sum(
            at - when > limit and arrived >= 0 and arrived - when > limit
            for when, arrived in zip(times, arrivals, strict=True)
        )
        self.bad[Blame.UPSTREAM] += upstream
        self.bad[Blame.OWN] += late - upstream


def _before(span: Span, moments: list[int], limit: float) -> int:
    """How many lie before a limit; most often all of them, or none."""
    if span.oldest >= limit:
        return 0
    if span.newest < limit:
        return span.size
    return sum(moment < limit for moment in moments)
