"""One Kafka transaction at a time: begin, produce, commit with the input's offsets, or abort.

The fate of every error, after librdkafka's own classification (its `INTRODUCTION.md`,
"Transactional producer API") and KIP-691:

    requires abort         `AbortNeededError`     same producer; abort, rewind, go on
    fatal, unclassified    `ProducerLostError`    new producer with the same transactional.id
    commit or abort timed out                     likewise: the outcome is unknown, and a straggling
                                                  EndTxn could end a later transaction (KIP-890);
                                                  a new epoch shuts it out
    fenced                 `ProducerLostError` with `fenced`: another process, or our own time-out

Nothing here guesses an unknown outcome: the committed offsets tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, NoReturn

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from mesh_stream.errors import MeshError
from mesh_stream.kafka.client import kafka_error
from mesh_stream.pipeline.record import Fact, Headers, Message
from mesh_stream.runtime.aside import Aside

# Below the transaction timeout, and short enough for a worker to stop within ten seconds.
COMMIT_SECONDS = 6.0
ABORT_SECONDS = 3.0
# For both calls of a commit. They keep to their time-outs, or never come back: librdkafka does not
# look at the time while it waits for the group's coordinator (confluentinc/librdkafka#5456).
COMMIT_DEADLINE_SECONDS = 2 * COMMIT_SECONDS + 1
# One slice of waiting for the coordinator: a stop request is looked at between two.
INIT_SLICE_SECONDS = 2.0
# How long a full producer queue may stay full before the transaction is given up.
FULL_QUEUE_SECONDS = 10.0

_FENCED = (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED)  # noqa: SLF001

_STATE = KafkaError._STATE  # noqa: SLF001 - the library's public codes, as above and below
_TIMED_OUT = KafkaError._TIMED_OUT  # noqa: SLF001
_STATES = (_STATE, KafkaError._FATAL)  # noqa: SLF001
_PURGES = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)  # noqa: SLF001
_EXPELLED = (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.FENCED_INSTANCE_ID)
_REGROUPED = (KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS)


class TransactionError(MeshError):
    """A transaction came to no commit.

    Attributes:
        doing: What failed, to follow "cannot".
        error: Why.
    """

    def __init__(self, doing: str, error: KafkaError) -> None:
        super().__init__(f"{doing}: {error.name()}: {error.str()}")
        self.doing = doing
        self.error = error


class AbortNeededError(TransactionError):
    """The transaction must be aborted; the producer stays good.

    Attributes:
        expelled: The consumer group has given this worker up; another may read its partitions.
        regrouped: The group has moved on, and this worker with it: nothing is out of order.
    """

    @property
    def expelled(self) -> bool:  # noqa: D102 - an attribute, told above
        return self.error.code() in _EXPELLED

    @property
    def regrouped(self) -> bool:  # noqa: D102 - the same
        return self.error.code() in _REGROUPED


class ProducerLostError(TransactionError):
    """The producer must not be used again; the transaction's outcome may be unknown.

    Attributes:
        fenced: Whether another producer with our transactional.id, or the coordinator after the
            transaction timeout, took the epoch.
    """

    @property
    def fenced(self) -> bool:  # noqa: D102 - an attribute, told above
        return self.error.code() in _FENCED


_Failure = tuple[str, KafkaException]
"""What could not be done, and why."""


class Transaction:
    """The producer's side of a worker.

    Args:
        settings: librdkafka settings with the slot's `transactional.id`.
        stopping: Asked while waiting for the coordinator.
    """

    def __init__(self, settings: dict[str, Any], stopping: Callable[[], bool]) -> None:
        self._settings = settings
        self._stopping = stopping
        self._producer: Producer | None = None
        self._failed_delivery: tuple[str, KafkaError] | None = None
        self._committer: Aside | None = None
        self._commit: Future[_Failure | None] | None = None
        self.is_open = False
        self.timeout = float(settings["transaction.timeout.ms"]) / 1000
        """Seconds after which the coordinator aborts an open transaction."""

    def ready(self, *, within: float) -> None:
        """Have a producer: a new one ends whatever its predecessor left open.

        Args:
            within: Seconds to wait for the transaction coordinator.

        Raises:
            PlatformError: The coordinator cannot be reached, or refuses the transactional.id.
        """
        if self._producer is None:
            self._producer = self._new_producer(within)

    def begin(self) -> None:
        """Open a transaction; `ready` comes first.

        Raises:
            ProducerLostError: The producer is of no more use.
        """
        assert self._producer is not None
        self._call("begin the transaction", self._producer.begin_transaction)
        self._failed_delivery = None
        self.is_open = True

    def publish(self, topic: str, facts: Iterable[Fact]) -> None:
        """Add facts to the open transaction, in order; waits while the producer's queue is full.

        Raises:
            AbortNeededError: The queue stayed full, or the producer refuses a record.
            ProducerLostError: The producer is of no more use.
        """
        assert self._producer is not None
        produce = self._producer.produce
        try:
            for fact in facts:
                try:
                    produce(topic, fact.value, fact.key)
                except BufferError:
                    self._when_room(partial(produce, topic, fact.value, fact.key))
        except KafkaException as error:
            self._raise(f"produce to {topic}", error)

    def bury(self, topic: str, message: Message, headers: Headers) -> None:
        """Add one dead letter to the open transaction: a record's own key and value, new headers.

        Raises:
            AbortNeededError: The queue stayed full, or the producer refuses the record.
            ProducerLostError: The producer is of no more use.
        """
        assert self._producer is not None
        produce = self._producer.produce
        value, key = message.value(), message.key()
        try:
            try:
                produce(topic, value, key, headers=list(headers))
            except BufferError:
                self._when_room(lambda: produce(topic, value, key, headers=list(headers)))
        except KafkaException as error:
            self._raise(f"produce to {topic}", error)

    def note(self, topic: str, partition: int, entries: Mapping[bytes, bytes | None]) -> None:
        """Add entries to a partition of a compacted topic; None deletes what is under a key.

        Raises:
            AbortNeededError: The queue stayed full, or the producer refuses a record.
            ProducerLostError: The producer is of no more use.
        """
        assert self._producer is not None
        produce = self._producer.produce
        try:
            for key, value in entries.items():
                try:
                    produce(topic, value, key, partition)
                except BufferError:
                    self._when_room(partial(produce, topic, value, key, partition))
        except KafkaException as error:
            self._raise(f"produce to {topic}", error)

    def tell(self, topic: str, partition: int, value: bytes) -> None:
        """Add a record without a key to one partition.

        Raises:
            AbortNeededError: The queue stayed full, or the producer refuses the record.
            ProducerLostError: The producer is of no more use.
        """
        assert self._producer is not None
        produce = partial(self._producer.produce, topic, value, None, partition)
        try:
            try:
                produce()
            except BufferError:
                self._when_room(produce)
        except KafkaException as error:
            self._raise(f"produce to {topic}", error)

    def _when_room(self, produce: Callable[[], None]) -> None:
        assert self._producer is not None
        deadline = time.monotonic() + FULL_QUEUE_SECONDS
        while time.monotonic() < deadline:
            self._producer.poll(0.05)
            try:
                produce()
            except BufferError:
                continue
            return
        raise AbortNeededError(
            f"the producer's queue stayed full for {FULL_QUEUE_SECONDS:.0f} s",
            KafkaError(KafkaError._QUEUE_FULL),  # noqa: SLF001 - the library's public code
        )

    def serve(self) -> None:
        """Let the producer report failed deliveries; costs nothing where there are none."""
        if (producer := self._producer) is not None:
            self._call("produce", lambda: producer.poll(0))

    def start_commit(self, offsets: list[TopicPartition], group_metadata: Any) -> None:
        """Commit the transaction together with the input's offsets, in a thread of its own.

        Until `finish_commit` has returned, nothing else here may be called.

        Args:
            offsets: The next offset to read, for each partition the transaction read from.
            group_metadata: The consumer group's metadata as it was when the transaction began: a
                later one would let a worker commit for a partition that it has lost (KIP-447).
        """
        assert self._producer is not None
        if self._committer is None:
            self._committer = Aside("commit")
        commit = partial(_commit, self._producer, offsets, group_metadata)
        self._commit = self._committer.submit(commit)

    @property
    def is_answered(self) -> bool:
        """Whether the commit that was started has ended, so that `finish_commit` does not wait."""
        return self._commit is None or self._commit.done()

    def finish_commit(self) -> None:
        """Wait for the commit that was started.

        Raises:
            AbortNeededError: Not committed; abort and rewind.
            ProducerLostError: Perhaps committed; the committed offsets will tell.
        """
        commit, self._commit = self._commit, None
        assert commit is not None
        try:
            failure = commit.result(COMMIT_DEADLINE_SECONDS)
        except TimeoutError as error:
            # The call keeps its thread and its producer, which the next one fences.
            self._committer = None
            self.drop()
            late = KafkaError(_TIMED_OUT, f"no answer in {COMMIT_DEADLINE_SECONDS:.0f} s")
            raise ProducerLostError("commit the transaction", late) from error
        if failure is not None:
            self._raise(*failure)
        self.is_open = False

    def abort(self) -> None:
        """Abort the open transaction; a producer that cannot is dropped, its successor will."""
        if not self.is_open:
            return
        self.is_open = False
        producer = self._producer
        assert producer is not None
        try:
            producer.abort_transaction(ABORT_SECONDS)
        except KafkaException:
            self.drop()

    def drop(self) -> None:
        """Let go of the producer; the next `ready` makes another, which ends what this one left."""
        self.is_open = False
        producer, self._producer = self._producer, None
        if producer is not None:
            # Not polled any more: a client with a fatal error raises it from there again.
            producer.purge(in_queue=True, in_flight=True, blocking=False)

    def _new_producer(self, within: float) -> Producer:
        producer = Producer({**self._settings, "on_delivery": self._on_delivery})
        deadline = time.monotonic() + within
        while True:
            try:
                producer.init_transactions(INIT_SLICE_SECONDS)
            except KafkaException as error:
                problem: KafkaError = error.args[0]
                late = time.monotonic() > deadline or self._stopping()
                if late or not problem.retriable():
                    raise kafka_error(problem, "initialise transactions") from error
            else:
                return producer

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        # Only failures are reported. The commit would fail too, but with a poorer reason.
        if error is not None and (
            self._failed_delivery is None or _is_purge(self._failed_delivery)
        ):
            self._failed_delivery = (f"write to {message.topic()}", error)

    def _call(self, doing: str, function: Callable[[], Any]) -> None:
        try:
            function()
        except KafkaException as error:
            self._raise(doing, error)

    def _raise(self, doing: str, error: KafkaException) -> NoReturn:
        problem = self._reason(error.args[0])
        undelivered = self._failed_delivery
        if problem.code() == _STATE and undelivered:
            raise AbortNeededError(*undelivered) from error
        if problem.txn_requires_abort():
            if undelivered is None or _is_purge(undelivered):
                raise AbortNeededError(doing, problem) from error
            raise AbortNeededError(*undelivered) from error
        if problem.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            raise AbortNeededError(doing, problem) from error
        self.drop()
        raise ProducerLostError(doing, problem) from error

    def _reason(self, problem: KafkaError) -> KafkaError:
        """What is behind an error that only says that the producer's state is bad.

        Serving the producer tells: failed deliveries are reported, a fatal error is raised.
        """
        if problem.code() in _STATES and self._producer is not None:
            try:
                self._producer.poll(0)
            except KafkaException as error:
                reason: KafkaError = error.args[0]
                return reason
        return problem


def _is_purge(undelivered: tuple[str, KafkaError]) -> bool:
    """Whether a record was not written for the sake of another, which may be reported later."""
    return undelivered[1].code() in _PURGES


def _commit(
    producer: Producer, offsets: list[TopicPartition], group_metadata: Any
) -> _Failure | None:
    """Commit; touches nothing but the producer, since nobody may wait for the answer any more."""
    doing = "add the offsets to the transaction"
    try:
        producer.send_offsets_to_transaction(offsets, group_metadata, COMMIT_SECONDS)
        doing = "commit the transaction"
        producer.commit_transaction(COMMIT_SECONDS)
    except KafkaException as error:
        return doing, error
    return None
