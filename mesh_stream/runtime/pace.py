"""When to commit, how much to ask for, and how long to bear a fault: numbers, and one rule."""

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


def next_batch(asked: int, *, got: int, took: float) -> int:
    """How many records to ask for next, so that a turn takes at most about `TURN_SECONDS`.

    It grows twofold at most: how long a record takes is known only of those that were processed. A
    transformation that became slow is met by one late turn, not by one after another.

    Args:
        asked: What was asked for last.
        got: How many came; 0 says nothing.
        took: Seconds that they took.
    """
    if not got:
        return asked
    fitting = got * TURN_SECONDS / took if took > 0 else MAX_BATCH
    return max(1, int(min(fitting, 2 * asked, MAX_BATCH)))
