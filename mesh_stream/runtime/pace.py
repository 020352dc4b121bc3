"""When to commit, how much to ask for, and how long to bear a fault."""

from __future__ import annotations

from dataclasses import dataclass

# A batch bounds what one turn holds in memory.
MAX_BATCH = 2_000
FIRST_BATCH = 125
# A turn longer than this makes commits, stops and rebalances late.
TURN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Pace:
    """When to commit, and how long to bear a fault. All in seconds.

    Attributes:
        busiest: Age at which a transaction is committed while input is waiting.
        calmest: Age at which it is committed when all input has been read: a commit costs
            throughput only where there is more to do.
        patience: How long a platform fault may last before the worker stops.
        backoff: First wait before a held-back partition is tried again; doubles up to 30 s.
    """

    busiest: float = 0.1
    calmest: float = 0.01
    patience: float = 300.0
    backoff: float = 0.5


class Appetite:
    """How many records a worker asks for at once, so that a turn takes about `TURN_SECONDS`.

    It grows by a quarter at most: that costs nothing where records are quick, and where a few of
    them are slow, one late turn is not followed by another as late.
    """

    def __init__(self) -> None:
        self.records = FIRST_BATCH
        """How many to ask for next."""
        self._most = MAX_BATCH

    def processed(self, records: int, *, took: float) -> None:
        """So many records took so many seconds; none say nothing."""
        if records:
            fitting = records * TURN_SECONDS / took if took > 0 else MAX_BATCH
            most = min(fitting, self.records * 1.25 + 1, self._most)
            self.records = max(1, int(most))

    def committed(self) -> None:
        """A transaction was committed."""
        self._most = min(2 * self._most, MAX_BATCH)

    def lost(self) -> None:
        """A transaction was lost, perhaps because it took too long.

        The next begins with the same records. Only one at a time is sure to get further, and it
        must not have grown again before that is committed.
        """
        self.records = self._most = 1
