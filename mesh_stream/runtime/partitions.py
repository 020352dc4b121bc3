"""The consumer's side of a worker: which partitions are ours, and which offset is next in each.

Positions are set explicitly when a partition is assigned, from the committed offsets, and every
record is held against them: a record before its partition's position was read already, a record of
a partition without one is not ours. That makes each record count once, whatever the client library
still has in its queues after a rebalance or a seek.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from mesh_stream.errors import (
    AccessDeniedError,
    BrokerError,
    MeshError,
    NotProvisionedError,
    PlatformError,
)
from mesh_stream.kafka.client import kafka_error
from mesh_stream.runtime.aside import Aside

log = logging.getLogger(__name__)

Partition = tuple[str, int]
"""(topic, partition)."""

_T = TypeVar("_T")

# One slice of asking the broker: a stop request is looked at between two.
ASK_SLICE_SECONDS = 2.0
ASK_AGAIN_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 30.0
# Leaving takes an answer of the broker; what takes longer than this will not come.
LEAVE_SECONDS = 15.0
_NEVER = sys.maxsize


@dataclass(slots=True)
class Hold:
    """A partition held back by a platform fault.

    Attributes:
        cause: The latest fault.
        since: When the first came (monotonic seconds).
        until: When the partition is tried again (monotonic seconds).
        backoff: The wait that led there, in seconds.
    """

    cause: PlatformError
    since: float
    until: float
    backoff: float


class Partitions:
    """The assigned partitions of one consumer.

    Args:
        product: The product's name, for messages.
        consumer: The consumer.
        stopping: Asked while waiting for the broker.
    """

    def __init__(self, product: str, consumer: Consumer, stopping: Callable[[], bool]) -> None:
        self._product = product
        self._consumer = consumer
        self._stopping = stopping
        self.positions: dict[Partition, int] = {}
        """Next offset of every assigned partition."""
        self.moved: set[Partition] = set()
        """Partitions whose position is ahead of what was committed."""
        self.held: dict[Partition, Hold] = {}
        """Partitions that are paused because of a platform fault."""
        self.suspects: dict[Partition, Hold] = {}
        """Partitions that are being tried again after one."""
        self.waiting: set[Partition] = set()
        """Partitions that are paused until what is remembered of them is there."""
        self.notes: dict[Partition, str] = {}
        """What was noted with the committed offset, when that was last asked for."""

    # Assignment

    def assign(
        self, assigned: Iterable[TopicPartition], *, within: float
    ) -> dict[Partition, int | None]:
        """Take partitions: find where to go on in each, then start reading there.

        The stable committed offset comes first; a dangling transaction is waited for. A partition
        that the group never committed starts at its beginning, whenever it was created.

        Returns:
            The committed offsets; None for a partition that the group never committed.

        Raises:
            NotProvisionedError: The committed offset is no longer, or not yet, in the topic.
            PlatformError: The broker did not answer in time.
        """
        wanted = [TopicPartition(tp.topic, tp.partition) for tp in assigned]
        if not wanted:
            return {}
        starts = []
        offsets = self.committed(wanted, within=within)
        for (topic, partition), committed in offsets.items():
            low, high = self._bounds(topic, partition, within=within)
            start = low if committed is None else committed
            if not low <= start <= high:
                raise NotProvisionedError(
                    self._product,
                    [
                        f"{topic}[{partition}] holds offsets {low} to {high}, but the group's next "
                        f"is {start}: "
                        + (
                            f"retention removed {low - start} records before they were read"
                            if start < low
                            else "the topic was created anew"
                        )
                        + f"; `mesh-stream reset {self._product}` shows how to go on"
                    ],
                )
            self.positions[topic, partition] = start
            starts.append(TopicPartition(topic, partition, start))
        self._consumer.incremental_assign(starts)
        return offsets

    def drop(self, revoked: Iterable[TopicPartition]) -> None:
        """Give partitions up."""
        for tp in revoked:
            partition = (tp.topic, tp.partition)
            self.positions.pop(partition, None)
            self.moved.discard(partition)
            self.held.pop(partition, None)
            self.suspects.pop(partition, None)
            self.waiting.discard(partition)

    def wait(self, partition: Partition) -> None:
        """Read nothing of a partition until `proceed`."""
        self.waiting.add(partition)
        self._consumer.pause([TopicPartition(*partition)])

    def proceed(self, partition: Partition) -> None:
        """Read a partition, from its position on, that was waiting."""
        self.waiting.discard(partition)
        self._consumer.seek(TopicPartition(*partition, self.positions[partition]))
        if partition not in self.held:
            self._consumer.resume([TopicPartition(*partition)])

    # Reading

    def leave(self) -> None:
        """Close the consumer, which leaves the group; give that up after `LEAVE_SECONDS`.

        librdkafka (2.16) locks itself out where it learns while it is being closed that an offset
        is gone from its topic: what is to be done about that is not done any more, and undoing it
        takes the partition's lock a second time. Whoever waits for it waits for ever.
        """
        left = Aside("leave").submit(self._consumer.close)
        try:
            left.result(LEAVE_SECONDS)
        except TimeoutError:
            log.warning(
                "%s: the client library does not let go of the group after %.0f s; going on "
                "without, and the broker notices in `session.timeout.ms`",
                self._product,
                LEAVE_SECONDS,
            )

    def accept(self, batch: Iterable[Message]) -> dict[Partition, list[Message]]:
        """Sort records by partition, in order, without those that are not ours or were read.

        Args:
            batch: Records without an error.
        """
        runs: dict[Partition, list[Message]] = {}
        topic = number = None
        for message in batch:
            # Fetches bring long stretches of one partition: it is looked up once for each.
            if message.partition() != number or message.topic() != topic:
                topic, number = message.topic(), message.partition()
                partition: Partition = (topic, number)  # type: ignore[assignment]  # a record has both
                run = runs.setdefault(partition, [])
                position = _after(run) if run else self._next_offset(partition)
            offset: int = message.offset()  # type: ignore[assignment]  # as above
            if offset >= position:
                run.append(message)
                position = offset + 1
        runs = {partition: run for partition, run in runs.items() if run}
        self.positions.update((partition, _after(run)) for partition, run in runs.items())
        self.moved.update(runs)
        return runs

    def _next_offset(self, partition: Partition) -> int:
        """The next offset to read; one that no record has where none is to be read."""
        if partition in self.held or partition in self.waiting:
            return _NEVER
        return self.positions.get(partition, _NEVER)

    def reached_end(self, topic: str, partition: int, offset: int) -> bool:
        """Go over what no reader sees at a partition's end: markers and aborted records.

        Otherwise the committed offset would never reach the end, and lag never zero. Returns
        whether the position moved.
        """
        key = (topic, partition)
        position = self.positions.get(key)
        if position is not None and self._next_offset(key) < offset:
            self.positions[key] = offset
            self.moved.add(key)
            return True
        return False

    def to_commit(self, notes: Mapping[Partition, str]) -> list[TopicPartition]:
        """The next offset of every partition that moved, with what is to be noted of it."""
        return [
            TopicPartition(*one, self.positions[one], metadata=notes.get(one, ""))
            for one in sorted(self.moved)
        ]

    # The way back

    def rewind(self, *, within: float) -> dict[Partition, int | None]:
        """Go back to the committed offset in every partition; returns those offsets.

        Raises:
            PlatformError: The broker did not answer in time.
        """
        partitions = [TopicPartition(topic, partition) for topic, partition in self.positions]
        committed = self.committed(partitions, within=within) if partitions else {}
        for (topic, partition), offset in committed.items():
            if offset is None:
                offset = self._bounds(topic, partition, within=within)[0]
            self.positions[topic, partition] = offset
            self._consumer.seek(TopicPartition(topic, partition, offset))
        self.moved.clear()
        return committed

    def hold(self, partition: Partition, offset: int, cause: PlatformError, backoff: float) -> None:
        """Stop reading a partition at a record that a platform fault keeps from being processed."""
        before = self.suspects.pop(partition, None)
        now = time.monotonic()
        wait = min(before.backoff * 2, MAX_BACKOFF_SECONDS) if before else backoff
        self.held[partition] = Hold(cause, before.since if before else now, now + wait, wait)
        self.positions[partition] = offset
        topic, number = partition
        self._consumer.pause([TopicPartition(topic, number)])
        log.warning(
            "%s: %s[%d]@%d held back for %.1f s: %s",
            self._product, topic, number, offset, wait, cause,
        )  # fmt: skip

    def retry_due(self) -> None:
        """Read held partitions again whose wait is over, from the record each was held at."""
        now = time.monotonic()
        for partition in [p for p, hold in self.held.items() if hold.until <= now]:
            self.suspects[partition] = self.held.pop(partition)
            topic, number = partition
            self._consumer.seek(TopicPartition(topic, number, self.positions[partition]))
            if partition not in self.waiting:
                self._consumer.resume([TopicPartition(topic, number)])

    def healed(self, partition: Partition) -> None:
        """A partition's records pass again."""
        self.suspects.pop(partition, None)

    def exhausted(self, patience: float) -> PlatformError | None:
        """The fault that has held a partition back for more than `patience` seconds, if any."""
        now = time.monotonic()
        for hold in (*self.held.values(), *self.suspects.values()):
            if now - hold.since > patience:
                return hold.cause
        return None

    # Asking the broker

    def committed(
        self, partitions: list[TopicPartition], *, within: float
    ) -> dict[Partition, int | None]:
        """The group's stable committed offsets; None for a partition it never committed.

        While another transaction on the group is undecided the broker answers "unstable", which the
        client library turns into a time-out; so a time-out is asked again until `within` seconds
        have passed.

        Raises:
            PlatformError: No answer in time, or a refusal.
        """

        def ask() -> list[TopicPartition]:
            answers = self._consumer.committed(partitions, timeout=ASK_SLICE_SECONDS)
            for tp in answers:
                if tp.error is not None:
                    raise KafkaException(tp.error)
            return answers

        found = self._patiently("read the committed offsets", ask, within)
        self.notes.update({(tp.topic, tp.partition): tp.metadata or "" for tp in found})
        return {(tp.topic, tp.partition): tp.offset if tp.offset >= 0 else None for tp in found}

    def lag(self, partition: Partition) -> int:
        """Records not yet read, by the newest end of the partition that the client has heard of."""
        topic, number = partition
        _, high = self._consumer.get_watermark_offsets(TopicPartition(topic, number), cached=True)
        return max(0, high - self.positions[partition]) if high >= 0 else 0

    def _bounds(self, topic: str, partition: int, *, within: float) -> tuple[int, int]:
        bounds: tuple[int, int] = self._patiently(
            f"read the bounds of {topic}[{partition}]",
            lambda: self._consumer.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=ASK_SLICE_SECONDS
            ),
            within,
        )
        return bounds

    def _patiently(self, doing: str, ask: Callable[[], _T], within: float) -> _T:
        """Ask again and again: a broker on its way back has many words for "not yet"."""
        deadline = time.monotonic() + within
        while True:
            try:
                return ask()
            except KafkaException as error:
                problem: KafkaError = error.args[0]
                fault = kafka_error(problem, f"{doing} within {within:.0f} s")
                if problem.fatal() or isinstance(fault, AccessDeniedError):
                    raise fault from error
                if self._stopping():
                    raise BrokerError(f"{doing}: stopped while waiting for the broker") from error
                if time.monotonic() > deadline:
                    raise fault from error
                time.sleep(ASK_AGAIN_SECONDS)


def names(partitions: Iterable[TopicPartition]) -> str:
    """Partitions as every log line names them; `nothing` where there is none."""
    return ", ".join(f"{tp.topic}[{tp.partition}]" for tp in partitions) or "nothing"


def _after(run: list[Message]) -> int:
    offset: int = run[-1].offset()  # type: ignore[assignment]  # a record has one
    return offset + 1


def consumer_fault(error: KafkaError, product: str, place: str) -> MeshError | None:
    """What an error event of the consumer means for the worker; None: the client mends it itself.

    Args:
        error: The event's error.
        product: The product's name.
        place: `topic[partition]@offset`.
    """
    code = error.code()
    if code == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - the library's public codes
        gone = (
            f"the group's next offset is no longer in the topic, at {place}; "
            f"`mesh-stream reset {product}` shows how to go on"
        )
        return NotProvisionedError(product, [gone])
    if code in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):  # noqa: SLF001
        return NotProvisionedError(product, [f"the input topic is gone, at {place}"])
    if error.fatal() or code in _REFUSED:
        return kafka_error(error, f"read {place}")
    return None


_REFUSED = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,  # noqa: SLF001
)
