"""Brings stores up to what is committed, from the changelog, beside the loop.

A store is a prefix of its changelog, so that reading on from where it stands, to the end, is always
right. The end is the partition's end as a read-committed reader is told of it, never "last offset +
1 is the high watermark" (markers and aborted records lie between). And it is not enough: while a
transaction is undecided, it hides every later record, committed or not. So a store is restored when
its own account of the input's next offset equals the group's committed one; where the two do not
meet within `PATIENCE_SECONDS`, something was deleted or set by hand, and nothing is processed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from mesh_stream.errors import AccessDeniedError, BrokerError, MeshError, StateLostError
from mesh_stream.kafka.client import kafka_error
from mesh_stream.pipeline.entries import meta_of
from mesh_stream.runtime.store import Position, Store

log = logging.getLogger(__name__)

# An undecided transaction is decided by then: three times the worker's own timeout.
PATIENCE_SECONDS = 45.0
# Where none is undecided there is nothing to wait for; a moment is allowed all the same.
SETTLED_SECONDS = 1.0
# A slow restore says how far it has come this often.
TELL_SECONDS = 5.0
_BATCH = 10_000
# One question to the broker; a worker that has to stop waits for two at most.
_ASK_SECONDS = 2.0
_AGAIN_SECONDS = 0.1
_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001 - the library's public code

Changes = dict[bytes, bytes | None]


@dataclass(slots=True)
class Restoring:
    """One partition that is being restored.

    Attributes:
        partition: Its number.
        store: Where to; nobody else touches it until this is done.
        committed: The group's committed offset; None where it never committed one.
        index: Makes, of an entry, the store's own entries that find it by time, if there are any.
        commits: How many transactions have changed it, as noted with that offset.
        cancelled: Set by `give_up`.
        finished: Set when it is done, or given up.
        failure: Why it cannot be done.
        records: Changelog records read.
    """

    partition: int
    store: Store
    committed: int | None
    index: Callable[[bytes, bytes | None], Iterable[bytes]] | None
    commits: int = 0
    cancelled: threading.Event = field(default_factory=threading.Event)
    finished: threading.Event = field(default_factory=threading.Event)
    failure: MeshError | None = None
    records: int = 0
    position: int = 0
    end: int = 0
    at_end_since: float | None = None
    _begun: bool = False
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> bool:
        """Whether the store is the restoring thread's now; not if it was given up before."""
        with self._turn:
            self._begun = not self.cancelled.is_set()
            return self._begun

    def give_up(self, within: float) -> bool:
        """Have it left alone; whether the store is free again, after `within` seconds at most."""
        with self._turn:
            self.cancelled.set()
            if not self._begun:
                return True
        return self.finished.wait(within)


class Restorer:
    """A thread that restores partitions one after the other.

    Args:
        product: The product's name, for messages.
        changelog: Its topic.
        connect: Makes a read-committed consumer that tells partitions' ends.
        told: Called with the changelog records that were read, now and then.
        patience: Seconds to wait for a broker that does not answer.
    """

    def __init__(
        self,
        product: str,
        changelog: str,
        connect: Callable[[], Consumer],
        told: Callable[[int], None],
        patience: float = 300.0,
    ) -> None:
        self._product = product
        self._changelog = changelog
        self._connect = connect
        self._told = told
        self._patience = patience
        self._asked: SimpleQueue[Restoring | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def begin(self, task: Restoring) -> None:
        """Restore a partition; its `finished` tells when that is done."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="restore", daemon=True)
            self._thread.start()
        self._asked.put(task)

    def holds_records(self, topic: str, width: int) -> bool:
        """Whether there is a committed record on a topic, or was before retention removed it.

        Offsets do not tell: an aborted transaction takes some, too.

        Args:
            topic: The topic.
            width: How many partitions it has.

        Raises:
            PlatformError: The broker did not answer in time.
        """
        never = threading.Event()
        with closing(self._connect()) as consumer:
            for number in range(width):
                place = TopicPartition(topic, number)
                low, high = self._bounds(place, consumer, never)
                if low > 0 or (high > 0 and self._has_any(place, consumer)):
                    return True
        return False

    def _has_any(self, place: TopicPartition, consumer: Consumer) -> bool:
        place.offset = 0
        consumer.assign([place])
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            for message in consumer.consume(1, _AGAIN_SECONDS):
                error = message.error()
                if error is None or error.code() == _EOF:
                    return error is None
        raise BrokerError(f"{place.topic}[{place.partition}] cannot be read")

    def close(self) -> None:
        """End the thread; whatever it was asked for has been given up."""
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join(2 * _ASK_SECONDS)

    def _run(self) -> None:
        consumer: Consumer | None = None
        while (task := self._asked.get()) is not None:
            try:
                if task.begin():
                    consumer = consumer or self._connect()
                    self._restore(task, consumer)
            except MeshError as error:
                task.failure = error
            except KafkaException as error:
                task.failure = kafka_error(error.args[0], f"restore from {self._changelog}")
            except Exception as error:
                log.exception("%s: restoring [%d] failed", self._product, task.partition)
                task.failure = MeshError(f"restoring [{task.partition}] failed: {error!r}")
            task.finished.set()
            # Not kept for the next rebalance: nobody would serve it.
            if consumer is not None and self._asked.empty():
                consumer.close()
                consumer = None

    def _restore(self, task: Restoring, consumer: Consumer) -> None:
        place = TopicPartition(self._changelog, task.partition)
        low, high = self._bounds(place, consumer, task.cancelled)
        if low > 0:
            raise self._refusal(task, f"its first {low} records are gone")
        known = task.store.position
        if known is not None and known.changelog > high:
            log.warning("%s[%d]: the store is ahead of it; wiped", self._changelog, task.partition)
            task.store.wipe()
            known = None
        task.position, task.end = (known.changelog if known is not None else 0), high
        place.offset = task.position
        consumer.assign([place])
        try:
            self._read(task, consumer)
        finally:
            consumer.unassign()

    def _bounds(
        self, place: TopicPartition, consumer: Consumer, cancelled: threading.Event
    ) -> tuple[int, int]:
        """A partition's first and next offset, of a broker that may be on its way back."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                low, high = consumer.get_watermark_offsets(place, timeout=_ASK_SECONDS)
            except KafkaException as error:
                fault = kafka_error(error.args[0], f"restore from {place.topic}")
                late = cancelled.wait(_AGAIN_SECONDS) or time.monotonic() > deadline
                if late or error.args[0].fatal() or isinstance(fault, AccessDeniedError):
                    raise fault from error
            else:
                return low, high

    def _read(self, task: Restoring, consumer: Consumer) -> None:
        began = next_word = time.monotonic()
        changes: Changes = {}
        while not task.cancelled.is_set():
            batch = consumer.consume(_BATCH, 0.1)
            if any(map(Message.error, batch)):
                for message in batch:
                    self._take(task, message, changes)
            elif batch:
                # Records and nothing else, as nearly always: not one by one.
                changes.update(zip(map(_key, batch), map(Message.value, batch), strict=True))
                self._came(task, batch[-1], len(batch))
            if changes and (len(changes) >= _BATCH or task.at_end_since is not None):
                self._apply(task, changes)
                changes = {}
            now = time.monotonic()
            if now - next_word > TELL_SECONDS:
                next_word = now
                share = 100 * task.position / task.end if task.end else 100
                log.info(
                    "%s[%d]: restored to %d of %d (%.0f%%)",
                    self._changelog, task.partition, task.position, task.end, share,
                )  # fmt: skip
            if task.at_end_since is not None and self._is_whole(task, consumer):
                # Also where nothing was read: the store is as new as it was found to be.
                task.store.apply({}, Position(task.position, time.time()))
                self._told(task.records)
                log.info(
                    "%s[%d]: restored, %d records in %.1f s",
                    self._changelog, task.partition, task.records, time.monotonic() - began,
                )  # fmt: skip
                return

    def _take(self, task: Restoring, message: Message, changes: Changes) -> None:
        error = message.error()
        offset = message.offset()
        assert offset is not None
        if error is None:
            changes[_key(message)] = message.value()
            self._came(task, message, 1)
        elif error.code() == _EOF:
            task.position = max(task.position, offset)
            task.at_end_since = task.at_end_since or time.monotonic()
        elif error.fatal() or not error.retriable():
            raise kafka_error(error, f"restore from {self._changelog}[{task.partition}]")

    def _came(self, task: Restoring, last: Message, records: int) -> None:
        offset = last.offset()
        assert offset is not None
        task.records += records
        task.position = offset + 1
        task.at_end_since = None

    def _apply(self, task: Restoring, changes: Changes) -> None:
        if task.index is not None:
            for key, value in list(changes.items()):
                changes.update(dict.fromkeys(task.index(key, value), b""))
        task.store.apply(changes, Position(task.position, time.time()))

    def _is_whole(self, task: Restoring, consumer: Consumer) -> bool:
        """Whether store and group tell the same.

        Raises:
            StateLostError: They do not, and waiting has not helped.
        """
        meta = meta_of(task.store)
        found = None if meta is None else meta.offset
        commits = 0 if meta is None else meta.commits
        if (found, commits) == (task.committed, task.commits):
            return True
        assert task.at_end_since is not None
        patience = PATIENCE_SECONDS if self._is_hidden(task, consumer) else SETTLED_SECONDS
        if time.monotonic() - task.at_end_since < patience and commits < task.commits:
            return False
        if found is None:
            raise self._refusal(
                task,
                f"it is empty, but the group has committed offset {task.committed} of its input",
            )
        if task.committed is None:
            raise self._refusal(
                task, f"it has seen its input up to offset {found}, but the group has no offset"
            )
        if not task.commits:
            raise self._refusal(
                task,
                f"it has seen its input up to offset {found}, but the group's committed offset, "
                f"{task.committed}, was set by hand",
            )
        raise self._refusal(
            task,
            f"it has seen its input up to offset {found} in {commits} transactions, but the "
            f"group's committed offset is {task.committed}, of {task.commits} transactions",
        )

    def _is_hidden(self, task: Restoring, consumer: Consumer) -> bool:
        """Whether there are records behind the end that is told: an undecided transaction's."""
        place = TopicPartition(self._changelog, task.partition)
        _, high = consumer.get_watermark_offsets(place, cached=True)
        return bool(high > task.position)

    def _refusal(self, task: Restoring, what: str) -> StateLostError:
        place = f"changelog {self._changelog}[{task.partition}]"
        return StateLostError(self._product, [f"{place}: {what}"])


def _key(message: Message) -> bytes:
    key: bytes = message.key()  # type: ignore[assignment]  # a compacted topic takes no other
    return key


def connection(settings: dict[str, Any]) -> Callable[[], Consumer]:
    """Returns what makes a consumer for a `Restorer` of a reader's settings."""
    return lambda: Consumer(
        {
            **settings,
            "enable.partition.eof": True,
            # Nothing else is done meanwhile: as much as memory allows.
            "queued.min.messages": 100_000,
        }
    )
