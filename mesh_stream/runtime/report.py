"""What a worker tells of itself: values handed upwards, so that this floor knows no metrics."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping
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
    STOPPED = "stopped"
    """Ended as asked, with everything committed: its last word on `mesh.status`."""


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
        arrivals: When their input records arrived, likewise, in the same order.
        positions: (topic, partition) -> the next offset to read, of every partition that it moved.
        watermarks: (topic, partition) -> the watermark of a partition of the fold's topic, where
            time matters to the states.
        newest_event: The newest of the event times, not after `at`; 0 where there is none.
        newest_input: Newest event time of the input records that became facts, or part of a state;
            not after their arrival, and 0 where nothing says. Of a run of records, the newest is
            held against the last one's arrival: one for one would cost as much as a stage.
        last_asked: When the last input record arrived that was not filtered: the last of a run in
            which there was one; not after `at`, 0 where there was none.
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
    arrivals: list[int] = field(default_factory=list)
    positions: Mapping[tuple[str, int], int] = field(default_factory=dict)
    watermarks: Mapping[tuple[str, int], int] = field(default_factory=dict)
    newest_event: int = 0
    newest_input: int = 0
    last_asked: int = 0
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
        self.newest_input = max(self.newest_input, outcome.newest_input)
        if outcome.sources or outcome.rejected:
            self.last_asked = max(self.last_asked, outcome.arrived)
        if forwards:
            self.forwarded += len(outcome.facts)
        elif outcome.facts:
            self._add_facts(outcome)
        self.closed += outcome.closed
        for unfit in outcome.unfit:
            self.unfit[unfit.fault_class, unfit.rule] += 1
        self.filtered.update(outcome.filtered)
        for rejected in outcome.rejected:
            self.rejected[rejected.fault_class, rejected.rule] += 1
        self.tolerated.update(outcome.tolerated)

    def _add_facts(self, outcome: Outcome) -> None:
        times = [fact.event_time for fact in outcome.facts]
        self.facts += len(times)
        self.event_times += times
        self.arrivals += [fact.arrived for fact in outcome.facts]
        newest = max(times)
        self.newest_event = max(self.newest_event, newest)
        self.newest_input = max(self.newest_input, min(newest, outcome.arrived))

    def conclude(self, *, at: int, took: float) -> None:
        """It is committed: a clock that runs ahead must not make a product fresh for ever."""
        self.at, self.took = at, took
        self.newest_event = min(self.newest_event, at)
        self.newest_input = min(self.newest_input, at)
        self.last_asked = min(self.last_asked, at)


class Witness(Protocol):
    """Who is told. `freshness.metrics` exports it; the tests count it."""

    def committed(self, transaction: Committed) -> None: ...  # noqa: D102
    def ended(self, ending: Ending) -> None: ...  # noqa: D102
    def state(self, state: WorkerState) -> None: ...  # noqa: D102
    def progress(self, now: float) -> None:
        """The loop turned, at `now` seconds since the epoch."""
        ...

    def taken(self, topic: str, partition: int, offset: int) -> None:
        """A partition is ours, and read from this offset on."""
        ...

    def given_up(self, topic: str, partition: int) -> None:
        """A partition is ours no more."""
        ...

    def lag(self, topic: str, partition: int, records: int) -> None:
        """Records not yet read of a partition that is ours."""
        ...

    def restored(self, records: int) -> None:
        """A partition's states are here, by so many changelog records; from another thread."""
        ...


class Witnesses:
    """Several who are told, in their order; itself a `Witness`."""

    def __init__(self, *witnesses: Witness) -> None:
        self._witnesses = witnesses

    def committed(self, transaction: Committed) -> None:  # noqa: D102 - as each of them
        for witness in self._witnesses:
            witness.committed(transaction)

    def ended(self, ending: Ending) -> None:  # noqa: D102
        for witness in self._witnesses:
            witness.ended(ending)

    def state(self, state: WorkerState) -> None:  # noqa: D102
        for witness in self._witnesses:
            witness.state(state)

    def progress(self, now: float) -> None:  # noqa: D102
        for witness in self._witnesses:
            witness.progress(now)

    def taken(self, topic: str, partition: int, offset: int) -> None:  # noqa: D102
        for witness in self._witnesses:
            witness.taken(topic, partition, offset)

    def given_up(self, topic: str, partition: int) -> None:  # noqa: D102
        for witness in self._witnesses:
            witness.given_up(topic, partition)

    def lag(self, topic: str, partition: int, records: int) -> None:  # noqa: D102
        for witness in self._witnesses:
            witness.lag(topic, partition, records)

    def restored(self, records: int) -> None:  # noqa: D102
        for witness in self._witnesses:
            witness.restored(records)
