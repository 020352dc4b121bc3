"""What a worker tells of itself: values handed upwards, so that this floor knows no metrics."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from mesh_stream.pipeline.record import Outcome


class WorkerState(enum.StrEnum):
    """What a worker is doing."""

    STARTING = "starting"
    """Preflight, or waiting for its first assignment."""
    RUNNING = "running"
    """Polling; every assigned partition is being read."""
    PAUSED = "paused"
    """A platform fault holds back at least one partition; it is being retried."""
    STOPPING = "stopping"
    """Asked to stop; committing or aborting what is open."""


class Ending(enum.StrEnum):
    """How a transaction ended."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    """A failure on the way; its records were read again."""
    ZOMBIE_ABORTED = "zombie_aborted"
    """The worker had lost its partitions, so that another may have read them already."""


@dataclass(slots=True)
class Committed:
    """One transaction: what became of its input records. Told once it is committed.

    Attributes:
        consumed: Input topic -> records.
        sources: Input records that became at least one fact, or part of a state.
        facts: Facts published.
        forwarded: Events that went to the product's own topic, to be keyed.
        closed: Windows that were closed, and states that were forgotten by their age.
        unfit: (class, rule) -> windows that became dead letters, because their fact was wrong.
        filtered: Reason -> input records.
        rejected: (class, rule) -> input records that became dead letters.
        tolerated: (rule, action) -> records that broke an `observe` or `warn` rule.
        event_times: The facts' event times, milliseconds since the epoch; -1 where there is none.
        at: When it was committed, milliseconds since the epoch.
        took: Seconds from its first record to its commit.
    """

    consumed: Counter[str] = field(default_factory=Counter)
    sources: int = 0
    facts: int = 0
    forwarded: int = 0
    closed: int = 0
    unfit: Counter[tuple[str, str]] = field(default_factory=Counter)
    filtered: Counter[str] = field(default_factory=Counter)
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    tolerated: Counter[tuple[str, str]] = field(default_factory=Counter)
    event_times: list[int] = field(default_factory=list)
    at: int = 0
    took: float = 0.0

    def add(self, topic: str, outcome: Outcome, *, forwards: bool = False) -> None:
        """Add what became of one run of records of a topic.

        Args:
            topic: The topic.
            outcome: What became of them.
            forwards: Whether its "facts" are events on their way to the product's own topic.
        """
        if outcome.consumed:
            self.consumed[topic] += outcome.consumed
        self.sources += outcome.sources
        if not forwards:
            self.facts += len(outcome.facts)
            self.event_times += [fact.event_time for fact in outcome.facts]
        else:
            self.forwarded += len(outcome.facts)
        self.closed += outcome.closed
        for unfit in outcome.unfit:
            self.unfit[unfit.fault_class, unfit.rule] += 1
        self.filtered.update(outcome.filtered)
        for rejected in outcome.rejected:
            self.rejected[rejected.fault_class, rejected.rule] += 1
        self.tolerated.update(outcome.tolerated)


class Witness(Protocol):
    """Who is told. `freshness.metrics` exports it; the tests count it."""

    def committed(self, transaction: Committed) -> None: ...  # noqa: D102
    def ended(self, ending: Ending) -> None: ...  # noqa: D102
    def state(self, state: WorkerState) -> None: ...  # noqa: D102
    def progress(self, now: float) -> None:
        """The loop turned, at `now` seconds since the epoch."""
        ...

    def lag(self, topic: str, partition: int, records: int | None) -> None:
        """Records not yet read of an assigned partition; None: no longer assigned."""
        ...

    def restored(self, records: int) -> None:
        """A partition's states are here, by so many changelog records; from another thread."""
        ...
