"""The transactions of one worker, one after the other: open, being committed, of unknown end.

A commit keeps the coordinator busy for some milliseconds and this process not at all. So it is
started in one turn of the loop and settled in another, before anything else is produced; the
records between are read and processed meanwhile, and what became of them waits here. At most one
transaction is open or being committed at any time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from confluent_kafka import TopicPartition

from mesh_stream.pipeline.record import Outcome
from mesh_stream.runtime.partitions import Partition
from mesh_stream.runtime.report import Committed, Ending, Witness
from mesh_stream.runtime.transaction import AbortNeededError, ProducerLostError, Transaction

MOST_TURNS = 8
"""Turns whose outcomes wait for a commit; then the loop waits for it, too."""


@dataclass(slots=True)
class Entry:
    """One transaction.

    Attributes:
        group_metadata: The membership that its first record was read in, or a renewed one.
        began: When it was opened (monotonic seconds).
        report: What became of its records.
        offsets: What it commits of the input.
    """

    group_metadata: Any
    began: float = field(default_factory=time.monotonic)
    report: Committed = field(default_factory=Committed)
    offsets: list[TopicPartition] = field(default_factory=list)


class Ledger:
    """Which transaction is where, and what the witness is told of it.

    Args:
        transaction: The producer's side.
        witness: Who is told.
    """

    def __init__(self, transaction: Transaction, witness: Witness) -> None:
        self._transaction = transaction
        self._witness = witness
        self.open: Entry | None = None
        """What is being filled."""
        self._committing: Entry | None = None
        self._unknown: Entry | None = None
        self._waiting: list[list[tuple[str, Outcome]]] = []
        self._membership: Any = None

    def __bool__(self) -> bool:
        return self.open is not None or self._committing is not None

    @property
    def lacks_membership(self) -> bool:
        """Whether the records that come next are the first of their transaction."""
        return self.open is None and not self._waiting

    @property
    def can_wait(self) -> bool:
        """Whether a commit is under way, and more may be read before it has ended."""
        under_way = self._committing is not None and not self._transaction.is_answered
        return under_way and len(self._waiting) < MOST_TURNS

    def wait(self, outcomes: list[tuple[str, Outcome]], membership: Any) -> None:
        """Keep what became of a turn's records, by topic, until it can be produced.

        Args:
            outcomes: What became of them.
            membership: As for `begin`, where `lacks_membership`.
        """
        if not outcomes:
            return
        if self.lacks_membership:
            self._membership = membership
        self._waiting.append(outcomes)

    def waited(self) -> list[tuple[str, Outcome]]:
        """What waits, to be produced into the transaction that is open now; `settle` comes first.

        Raises:
            TransactionError: None can be opened.
        """
        waiting, self._waiting = self._waiting, []
        if waiting:
            self.begin(self._membership)
        return [one for outcomes in waiting for one in outcomes]

    def renew(self, membership: Callable[[], Any]) -> None:
        """Go on in the group's new generation with what is open, or waits: its own is refused."""
        if self.open is not None:
            self.open.group_metadata = membership()
        elif self._waiting:
            self._membership = membership()

    def begin(self, membership: Any) -> None:
        """Open a transaction, if none is.

        Args:
            membership: The group's metadata as it was when its first record was read: a later one
                would let a worker commit for a partition that it has lost (KIP-447).
        """
        if self.open is None:
            self._transaction.begin()
            self.open = Entry(membership)

    def add(self, topic: str, outcome: Outcome, *, forwards: bool = False) -> None:
        """Note what became of records of the open transaction; as `Committed.add`."""
        assert self.open is not None
        self.open.report.add(topic, outcome, forwards=forwards)

    def start_commit(
        self,
        offsets: list[TopicPartition],
        watermarks: Mapping[Partition, int] = MappingProxyType({}),
    ) -> None:
        """Have the open transaction committed; `settle` tells whether it was.

        Args:
            offsets: The next offset to read, for each partition that it read from.
            watermarks: As in `Committed`.
        """
        entry, self.open = self.open, None
        assert entry is not None
        entry.offsets = offsets
        entry.report.positions = {(tp.topic, tp.partition): tp.offset for tp in offsets}
        entry.report.watermarks = watermarks
        self._committing = entry
        self._transaction.start_commit(offsets, entry.group_metadata)

    def settle(self) -> bool:
        """Wait for the transaction that is being committed; False where none is.

        Where it raises, what waits is forgotten: it is read again.

        Raises:
            AbortNeededError: It was not committed, and is open again; abandon it.
            ProducerLostError: Perhaps it was; the committed offsets will tell.
        """
        entry, self._committing = self._committing, None
        if entry is None:
            return False
        try:
            self._transaction.finish_commit()
        except AbortNeededError:
            self.open, self._waiting = entry, []
            raise
        except ProducerLostError:
            self._unknown, self._waiting = entry, []
            raise
        self._tell_committed(entry)
        return True

    def abandon(self, ending: Ending) -> None:
        """Abort the open transaction, if there is one, and forget what waits."""
        self._waiting = []
        if self.open is not None:
            self.open = None
            self._transaction.abort()
            self._witness.ended(ending)

    def lose(self) -> float:
        """The producer is lost; returns for how long its transaction had been open, in seconds.

        What waits is forgotten.
        """
        self._waiting = []
        lost = self.open or self._unknown
        if self.open is not None:
            self.open = None
            self._witness.ended(Ending.ABORTED)
        return time.monotonic() - lost.began if lost is not None else 0.0

    def resolve(
        self, committed: Mapping[Partition, int | None], notes: Mapping[Partition, str]
    ) -> None:
        """Learn from the committed offsets how a transaction of unknown end ended.

        Args:
            committed: Of the partitions that are ours now; of none where that is not our business
                any more.
            notes: What is noted with these offsets.
        """
        entry, self._unknown = self._unknown, None
        if entry is None or not committed:
            return
        ours = [tp for tp in entry.offsets if (tp.topic, tp.partition) in committed]
        if ours and all(_is(tp, committed, notes) for tp in ours):
            self._tell_committed(entry)
        else:
            self._witness.ended(Ending.ABORTED)

    def _tell_committed(self, entry: Entry) -> None:
        took = time.monotonic() - entry.began
        entry.report.conclude(at=time.time_ns() // 1_000_000, took=took)
        self._witness.committed(entry.report)
        self._witness.ended(Ending.COMMITTED)


def _is(
    wanted: TopicPartition,
    committed: Mapping[Partition, int | None],
    notes: Mapping[Partition, str],
) -> bool:
    partition = (wanted.topic, wanted.partition)
    noted = notes.get(partition, "") == (wanted.metadata or "")
    return committed[partition] == wanted.offset and noted
