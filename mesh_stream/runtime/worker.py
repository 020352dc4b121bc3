"""The loop of one worker slot, exactly once: poll, sort, pipeline, produce, commit.

One Kafka transaction holds facts, dead letters and the input's offsets, so that an input record is
either all of it or not yet read. Invariants:

* Nothing is committed that was not produced, and nothing produced is read before it is committed.
* A record is processed once per position of its partition; what lies before the position, or
  belongs to a partition that is not ours now, is dropped (`partitions.py`).
* Whatever goes wrong, the way back is the same: abort, ask the committed offsets, seek there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from mesh_stream.errors import BrokerError, MeshError
from mesh_stream.kafka.client import kafka_error
from mesh_stream.pipeline.deadletter import Provenance, dead_letter_headers
from mesh_stream.pipeline.pipeline import Interrupted
from mesh_stream.pipeline.record import Outcome, where
from mesh_stream.product.product import Product
from mesh_stream.runtime.ledger import Ledger
from mesh_stream.runtime.pace import Appetite, Pace
from mesh_stream.runtime.partitions import Partition, Partitions, consumer_fault, names
from mesh_stream.runtime.report import Ending, Witness, WorkerState
from mesh_stream.runtime.setbacks import Setbacks
from mesh_stream.runtime.states import States
from mesh_stream.runtime.transaction import (
    AbortNeededError,
    ProducerLostError,
    Transaction,
    TransactionError,
)

log = logging.getLogger(__name__)

# `consume` waits for a whole batch or this long: the latency that a low rate pays.
BATCH_SECONDS = 0.01
# With nothing to do, one record ends the wait at once.
IDLE_SECONDS = 0.1
# How often held partitions, lag and life are looked after.
LOOK_SECONDS = 0.5


class Worker:
    """One slot of one product.

    Args:
        product: The product.
        states: What is remembered, and the path of each topic's records.
        provenance: What its dead letters say of it.
        consumer: A consumer of the product's group, not yet subscribed.
        transaction: The producer's side, with the slot's transactional id.
        witness: Who is told what happens.
        pace: When to commit, and how long to bear a fault.
    """

    def __init__(
        self,
        product: Product,
        *,
        states: States,
        provenance: Provenance,
        consumer: Consumer,
        transaction: Transaction,
        witness: Witness,
        pace: Pace,
    ) -> None:
        self._product = product
        self._states = states
        self._paths = states.paths
        self._provenance = provenance
        self._consumer = consumer
        self._transaction = transaction
        self._witness = witness
        self._pace = pace
        self._stop = threading.Event()
        self._partitions = Partitions(product.name, consumer, stopping=self._stop.is_set)
        self._ledger = Ledger(transaction, witness)
        self._appetite = Appetite()
        self._caught_up = True
        self._must_rewind = False
        self._setbacks = Setbacks(product.name, pace, transaction.timeout)
        self._failure: MeshError | None = None
        self._next_look = 0.0

    def stop(self) -> None:
        """Ask the loop to end: commit what is open, leave the group. Safe from any thread."""
        self._stop.set()

    def run(self) -> None:
        """Run until asked to stop.

        Raises:
            PlatformError: Broker, registry or a dependency was out of order for too long.
            HaltError: A record broke a rule with action `fail`.
            FencedError: Another process uses this slot's transactional id.
            NotProvisionedError: A partition's position is gone from its topic.
        """
        self._witness.state(WorkerState.STARTING)
        self._transaction.ready(within=self._pace.patience)
        self._consumer.subscribe(
            list(self._paths.pipelines), on_assign=self._on_assign, on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )  # fmt: skip
        try:
            while not self._stop.is_set():
                self._turn()
            self._witness.state(WorkerState.STOPPING)
            self._commit()
            self._setbacks.conclude()
        except TransactionError as error:
            # What was not committed is read again by whoever has the partitions next.
            raise BrokerError(f"stopped without committing: {error}") from error
        finally:
            try:
                self._settle_or_step_back()
                self._ledger.abandon(Ending.ABORTED)
            finally:
                self._states.close()
                self._partitions.leave()
                self._transaction.drop()

    def _turn(self) -> None:
        """One turn of the loop, in order."""
        try:
            # 1. Poll. Assignments change in here, by the callbacks below.
            records, events = self._poll()
            if self._failure is not None:
                if self._stop.is_set():
                    return
                raise self._failure
            if self._must_rewind:
                self._rewind()
                return
            # 2. Sort: by partition, without what is not ours or was read before.
            runs = self._partitions.accept(records)
            due = runs or self._states.unseen
            membership = self._membership() if due and self._ledger.lacks_membership else None
            # 3. Pipeline: facts, filtered, rejected; a platform fault holds the partition.
            self._ledger.wait(self._process(runs), membership)
            # 4. Produce, into the open transaction, once the one before is committed: while that
            #    takes its time, what is there to be read is read.
            if self._ledger.can_wait and not self._caught_up and not events:
                return
            self._settle()
            for event in events:
                self._heed(event)
            self._transaction.serve()
            # 5. Commit, when it is time, while the next records are polled, sorted and processed.
            if self._is_due():
                self._start_commit()
            self._look_after()
        except AbortNeededError as error:
            self._settle_or_step_back()
            self._step_back(error)
        except ProducerLostError as error:
            self._lose_producer(error)

    def _poll(self) -> tuple[list[Message], list[Message]]:
        """At most a batch of records, and the events that came among them."""
        asked = self._appetite.records
        try:
            if self._caught_up and not self._ledger:
                batch = self._consumer.consume(1, IDLE_SECONDS)
            else:
                batch = self._consumer.consume(asked, BATCH_SECONDS)
        except KafkaException as error:
            raise kafka_error(error.args[0], "read the input") from error
        self._caught_up = len(batch) < asked
        if not any(map(Message.error, batch)):
            return batch, []
        events = [message for message in batch if message.error() is not None]
        return [message for message in batch if message.error() is None], events

    def _membership(self) -> Any:
        """The group's metadata of now, which fences what is committed with it.

        Raises:
            AbortNeededError: The group has given us up, and `_on_lost` is yet to tell. Metadata
                without a member may pass for a commit from outside the group, which no broker
                fences (KIP-447).
        """
        metadata = self._consumer.consumer_group_metadata()
        if not self._consumer.memberid():
            unknown = KafkaError(KafkaError.UNKNOWN_MEMBER_ID, "not a member of the group now")
            raise AbortNeededError("begin the transaction", unknown)
        return metadata

    def _process(self, runs: Mapping[Partition, list[Message]]) -> list[tuple[str, Outcome]]:
        """What became of each run, by topic."""
        began = time.monotonic()
        try:
            outcomes = [
                (topic, self._process_run(topic, number, run))
                for (topic, number), run in runs.items()
            ]
            if (closed := self._states.pass_time()) is not None:
                outcomes.append((self._product.changelog_topic, closed))
        finally:
            self._appetite.processed(sum(map(len, runs.values())), took=time.monotonic() - began)
        self._states.heard(runs)
        return outcomes

    def _process_run(self, topic: str, number: int, run: list[Message]) -> Outcome:
        outcome = Outcome()
        try:
            self._paths.pipelines[topic].process(run, outcome)
        except Interrupted as interrupted:
            offset = run[interrupted.done].offset()
            assert offset is not None
            self._partitions.hold((topic, number), offset, interrupted.cause, self._pace.backoff)
            self._witness.state(WorkerState.PAUSED)
        else:
            if self._partitions.suspects:
                self._partitions.healed((topic, number))
        return outcome

    def _produce(self, topic: str, outcome: Outcome) -> None:
        self._transaction.publish(self._paths.target(self._product, topic), outcome.facts)
        now = time.time_ns() // 1_000_000
        for rejected in (*outcome.rejected, *outcome.unfit):
            headers = dead_letter_headers(rejected, provenance=self._provenance, now=now)
            self._transaction.bury(self._product.dead_letter_topic, rejected.message, headers)
            log.debug("dead letter of %s: %s", where(rejected.message), rejected.reason)
        self._ledger.add(topic, outcome, forwards=topic in self._paths.forwards)

    def _is_due(self) -> bool:
        """Often when the load is low, where it costs nothing; seldom when it is high."""
        if self._ledger.open is None:
            return False
        age = time.monotonic() - self._ledger.open.began
        return age >= (self._pace.calmest if self._caught_up else self._pace.busiest)

    def _start_commit(self) -> None:
        flushed = self._states.freeze(self._transaction, self._partitions)
        self._ledger.add(self._product.output.topic, flushed)
        offsets = self._partitions.to_commit(self._states.notes())
        self._ledger.start_commit(offsets, self._states.watermarks())
        self._partitions.moved.clear()

    def _settle(self) -> None:
        """Wait for the transaction that is being committed, if there is one; produce what waits.

        Raises:
            TransactionError: It was not, or perhaps not, committed.
        """
        if self._ledger.settle():
            self._setbacks.clear()
            self._appetite.committed()
            self._states.commit(self._consumer)
        for topic, outcome in self._ledger.waited():
            self._produce(topic, outcome)

    def _commit(self) -> None:
        """Commit whatever is open, and wait for it; raises as `_settle`."""
        self._settle()
        if self._ledger.open is not None:
            self._start_commit()
            self._settle()

    # When something went wrong

    def _settle_or_step_back(self) -> None:
        """Wait for the transaction that is being committed; where it was not, read again."""
        try:
            self._settle()
        except AbortNeededError as error:
            self._step_back(error)
        except ProducerLostError as error:
            self._lose_producer(error)

    def _step_back(self, error: AbortNeededError) -> None:
        """Abort, and read again."""
        level = logging.INFO if error.regrouped else logging.WARNING
        log.log(level, "%s: transaction aborted, reading again: %s", self._product.name, error)
        self._ledger.abandon(Ending.ZOMBIE_ABORTED if error.expelled else Ending.ABORTED)
        self._states.thaw()
        self._setbacks.aborted(error)
        self._must_rewind = True

    def _lose_producer(self, error: ProducerLostError) -> None:
        """Read again, with a new producer."""
        log.warning("%s: producer lost, making another: %s", self._product.name, error)
        self._states.thaw()
        self._must_rewind = True
        self._appetite.lost()
        self._setbacks.lost(error, age=self._ledger.lose())

    def _rewind(self) -> None:
        """Read again from the committed offsets, which also tell how an unknown commit ended."""
        if self._partitions.positions and not self._consumer.memberid():
            # Given up by the group: what is read until `_on_lost` says so is dropped.
            return
        if self._setbacks:
            self._witness.state(WorkerState.PAUSED)
            self._setbacks.bear(self._stop)
        if not self._partitions.positions:
            # Nothing is ours, so nothing is ours to end: another worker may be at it.
            self._must_rewind = False
            self._ledger.resolve({}, {})
            return
        self._transaction.ready(within=self._pace.patience)
        committed = self._partitions.rewind(within=self._pace.patience)
        self._ledger.resolve(committed, self._partitions.notes)
        self._states.resume(self._partitions, committed)
        self._must_rewind = False

    def _heed(self, event: Message) -> None:
        """An event of the consumer: the end of a partition, or an error."""
        error = event.error()
        assert error is not None
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's public code
            place: Any = (event.topic(), event.partition(), event.offset())
            if self._partitions.reached_end(*place):
                self._ledger.begin(self._membership())
            return
        fault = consumer_fault(error, self._product.name, where(event))
        if fault is not None:
            raise fault
        log.warning("%s: %s: %s", self._product.name, where(event), error.str())

    def _look_after(self) -> None:
        """What is due now and then: held partitions, lag, a sign of life."""
        self._states.proceed(self._partitions)
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        if self._states.has_news(self._partitions):
            self._ledger.begin(self._membership())
        self._partitions.retry_due()
        if (fault := self._partitions.exhausted(self._pace.patience)) is not None:
            raise fault
        for partition in self._partitions.positions:
            self._witness.lag(*partition, self._partitions.lag(partition))
        if self._partitions.positions and not self._partitions.held and not self._setbacks:
            self._witness.state(WorkerState.RUNNING)
        self._witness.progress(time.time())

    # Assignment: called by the client library, inside `_poll`. What they raise waits for the loop,
    # so that it does not depend on how the library carries exceptions through its callbacks.

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:  # noqa: ARG002
        log.info("%s: assigned %s", self._product.name, names(assigned))
        self._settle_or_step_back()
        try:
            self._setbacks.give_way()
            # First, so that a transaction our predecessor left open does not hide the offsets.
            self._transaction.ready(within=self._pace.patience)
            offsets = self._partitions.assign(assigned, within=self._pace.patience)
            for partition in offsets:
                self._witness.taken(*partition, self._partitions.positions[partition])
            self._states.assign(self._partitions, offsets, within=self._pace.patience)
            self._renew_membership()
        except AbortNeededError as error:
            self._step_back(error)
        except MeshError as error:
            self._failure = error

    def _on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:  # noqa: ARG002
        """Commit while the partitions are still ours; the next owner starts after that."""
        log.info("%s: revoked %s", self._product.name, names(revoked))
        try:
            self._renew_membership()
            self._commit()
        except AbortNeededError as error:
            self._step_back(error)
        except ProducerLostError as error:
            self._lose_producer(error)
        self._forget(revoked)

    def _renew_membership(self) -> None:
        """Go on with an open transaction in the group's new generation: its own would be refused.

        Only for a callback that says what is ours in it: whatever is not lost and not yet given up.
        """
        self._ledger.renew(self._membership)

    def _on_lost(self, consumer: Consumer, lost: list[TopicPartition]) -> None:  # noqa: ARG002
        """Abort: another worker may own the partitions already."""
        log.warning("%s: lost %s", self._product.name, names(lost))
        self._settle_or_step_back()
        self._ledger.abandon(Ending.ZOMBIE_ABORTED)
        self._must_rewind = True
        self._states.thaw()
        self._forget(lost)

    def _forget(self, partitions: list[TopicPartition]) -> None:
        self._states.drop((tp.topic, tp.partition) for tp in partitions)
        self._partitions.drop(partitions)
        for tp in partitions:
            self._witness.given_up(tp.topic, tp.partition)
