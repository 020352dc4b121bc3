"""What one worker remembers: the shards of its partitions, from restore to commit.

A partition of the fold's topic is processed while its shard is here, and waits otherwise. Around
each transaction:

    freeze   its changes go into it: facts, changelog records, the progress of sources
    commit   it is committed: the stores take the changes, where that may be some seconds later
    thaw     it is not, or perhaps not: the changes are forgotten; `resume` finds out

Invariant: a store never holds what is not committed. Where it is behind, by a crash or an unknown
outcome, it reads on in the changelog before its partition is processed again.

For a product without state there is nothing here to do, and it costs nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition

from mesh_stream.errors import StateLostError
from mesh_stream.kafka.topics import TOMBSTONE_RETENTION_MS
from mesh_stream.pipeline.events import source_of
from mesh_stream.pipeline.fold import Fold
from mesh_stream.pipeline.notes import commits_of_note, states_note
from mesh_stream.pipeline.paths import Paths
from mesh_stream.pipeline.record import Outcome
from mesh_stream.pipeline.shard import Shard
from mesh_stream.pipeline.state_layout import changes_that_matter, codec_of, index_of, type_entry
from mesh_stream.product.product import Product
from mesh_stream.runtime.partitions import Partition, Partitions
from mesh_stream.runtime.restore import Restorer, Restoring
from mesh_stream.runtime.sources import Sources
from mesh_stream.runtime.store import Position, Store
from mesh_stream.runtime.transaction import Transaction
from mesh_stream.runtime.writing import Writing

log = logging.getLogger(__name__)

CLOSED_AT_ONCE = 2_000
"""Windows that are closed in one turn of the loop: a million of them must not hold it up."""
STORE_AGE_SECONDS = TOMBSTONE_RETENTION_MS / 2000
"""A store that was away for longer may have missed a deletion that is no longer told."""
_HEIGHT_SECONDS = 10.0
_ASK_SECONDS = 2.0
_CANCEL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Ground:
    """What a worker's states stand on.

    Attributes:
        folder: Where its stores lie; of this slot and this changelog alone.
        identity: What a store must have been made for, to be of use.
        ids: Topic that is read -> its id on the broker: one made anew has another.
        partitions: Input topic -> how many partitions it has; of all inputs, and the fold's topic.
        restorer: Restores the stores.
    """

    folder: Path
    identity: str
    ids: Mapping[str, str]
    partitions: Mapping[str, int]
    restorer: Restorer


class States:
    """The states of one worker.

    Args:
        product: The product.
        paths: Its pipelines.
        ground: What they stand on; None for a product without state.
    """

    def __init__(self, product: Product, paths: Paths, ground: Ground | None) -> None:
        self._product = product
        self.paths = paths
        self._fold: Fold | None = paths.fold
        self._ground = ground
        self._restoring: dict[int, Restoring] = {}
        self._stores: dict[int, Store] = {}
        self._sources = Sources(
            product.name,
            paths.forwards,
            {} if ground is None else ground.ids,
            0.0 if paths.fold is None else paths.fold.state.idle / 1000,
        )
        self._positions: dict[int, int] = {}
        self._heights: dict[int, int] = {}
        self._asked_at = time.monotonic()
        self._writing = Writing(product.name)
        if paths.fold is not None:
            state = paths.fold.state
            self._codec = codec_of(state)
            self._index = index_of(state)
            self._type_entry = type_entry(state)

    # Partitions

    def assign(
        self, partitions: Partitions, committed: Mapping[Partition, int | None], *, within: float
    ) -> None:
        """Partitions are ours; those that have states wait until these are here.

        Args:
            partitions: Where each of them is read.
            committed: The group's committed offsets; None for one it never committed.
            within: Seconds to wait for the broker.

        Raises:
            PlatformError: A store cannot be opened, or the broker did not answer in time.
            StateLostError: There is a partition that the states were not made for; or the group has
                forgotten what it has read.
        """
        if any(topic in self.paths.forwards and at is None for (topic, _), at in committed.items()):
            self._refuse_to_send_on_again(partitions, within)
        for (topic, number), offset in committed.items():
            self._sources.take((topic, number))
            self._sources.recall((topic, number), offset, partitions.notes[topic, number])
            if topic == self.paths.fold_topic:
                self._open_store(topic, number)
                self._restore(partitions, number, offset)

    def resume(self, partitions: Partitions, committed: Mapping[Partition, int | None]) -> None:
        """Go on from the committed offsets, after something went wrong.

        A transaction of unknown outcome may have been committed after all: then the states are
        behind, and read on in the changelog.
        """
        for (topic, number), offset in committed.items():
            self._sources.recall((topic, number), offset, partitions.notes[topic, number])
            if topic != self.paths.fold_topic or number in self._restoring:
                continue
            assert self._fold is not None
            shard = self._fold.shards[number]
            commits = commits_of_note(partitions.notes[topic, number])
            if (shard.offset, shard.commits) != (offset, commits):
                self._writing.let_finish()
                del self._fold.shards[number]
                self._restore(partitions, number, offset)

    def proceed(self, partitions: Partitions) -> None:
        """Have partitions read whose states are here now.

        Raises:
            MeshError: They could not be restored, or not be read; or a store could not be written.
        """
        self._writing.look()
        done = [number for number, task in self._restoring.items() if task.finished.is_set()]
        for number in done:
            task = self._restoring.pop(number)
            if task.failure is not None:
                raise task.failure
            self._open(number, task)
            partitions.proceed((str(self.paths.fold_topic), number))

    def _refuse_to_send_on_again(self, partitions: Partitions, within: float) -> None:
        """Refuse where the group has no offset at all, and yet something came of its records once.

        Both are committed together: asked in this order, another worker's first transaction is in
        the second answer if it is in the first.
        """
        assert self._ground is not None
        own = self._product.repartition_topic
        if not self._ground.restorer.holds_records(own, self._ground.partitions[own]):
            return
        read = [
            TopicPartition(topic, number)
            for topic, width in self._ground.partitions.items()
            if topic != self._product.changelog_topic
            for number in range(width)
        ]
        if all(at is None for at in partitions.committed(read, within=within).values()):
            found = f"the group has no offsets, but {own} has had events: they would be sent again"
            raise StateLostError(self._product.name, [found])

    def _open_store(self, topic: str, number: int) -> None:
        ground = self._ground
        assert ground is not None
        if number >= ground.partitions[topic]:
            more = (
                f"{topic} has got partitions since its states were made, of which there are "
                f"{ground.partitions[topic]}: keys are in other partitions now"
            )
            raise StateLostError(self._product.name, [more])
        if number not in self._stores:
            folder = ground.folder / str(number)
            self._stores[number] = Store.open(
                folder, identity=f"{ground.identity} {number}", max_age=STORE_AGE_SECONDS
            )

    def _restore(self, partitions: Partitions, number: int, committed: int | None) -> None:
        assert self._ground is not None
        topic = str(self.paths.fold_topic)
        commits = commits_of_note(partitions.notes[topic, number])
        task = Restoring(number, self._stores[number], committed, self._index, commits)
        self._restoring[number] = task
        self._ground.restorer.begin(task)
        partitions.wait((topic, number))

    def _open(self, number: int, task: Restoring) -> None:
        assert self._fold is not None
        assert self._ground is not None
        problems = changes_that_matter(task.store, self._fold.state)
        if problems:
            raise StateLostError(
                self._product.name,
                [f"what is remembered cannot be read any more: {one}" for one in problems],
            )
        self._positions[number] = task.position
        shard = self._fold.shards[number] = Shard(
            task.store,
            self._codec,
            sources=self._sources_of(number),
            cached=max(1, self._product.limits.cached_states // max(1, len(self._stores))),
            type_entry=self._type_entry,
        )
        if shard.input_id not in ("", self._ground.ids[str(self.paths.fold_topic)]):
            raise StateLostError(
                self._product.name,
                [f"{self.paths.fold_topic} was created anew since its states were made"],
            )

    def _sources_of(self, number: int) -> Iterable[str]:
        assert self._ground is not None
        if not self.paths.forwards:
            return [source_of(str(self.paths.fold_topic), number)]
        return [
            source_of(topic, partition)
            for topic in self.paths.forwards
            for partition in range(self._ground.partitions[topic])
        ]

    def drop(self, partitions: Iterable[Partition]) -> None:
        """Give partitions up."""
        self._writing.let_finish()
        for topic, number in partitions:
            self._sources.give_up((topic, number))
            if topic != self.paths.fold_topic:
                continue
            assert self._fold is not None
            task = self._restoring.pop(number, None)
            if task is not None and not task.give_up(_CANCEL_SECONDS):
                # Its thread hangs on the broker, and may yet write: the store stays its own.
                self._stores.pop(number, None)
                continue
            self._fold.shards.pop(number, None)
            self._heights.pop(number, None)
            if (store := self._stores.pop(number, None)) is not None:
                store.close()

    def close(self) -> None:
        """Give everything up."""
        topic = self.paths.fold_topic
        if topic is not None and self._ground is not None:
            self.drop([(topic, number) for number in list(self._stores)])
            self._ground.restorer.close()

    # What time does

    @property
    def unseen(self) -> bool:
        """Whether `pass_time` may find something to close, with no record having come."""
        return self._fold is not None and any(shard.unseen for shard in self._fold.shards.values())

    def pass_time(self) -> Outcome | None:
        """Close what the watermark has gone past; None where that is nothing."""
        if self._fold is None:
            return None
        outcome, left = Outcome(), CLOSED_AT_ONCE
        for number in self._fold.shards:
            if left > 0:
                left -= self._fold.close(number, outcome, left)
        return outcome if left < CLOSED_AT_ONCE else None

    def heard(self, partitions: Iterable[Partition]) -> None:
        """Records of these partitions have come."""
        self._sources.heard(partitions)

    def has_news(self, partitions: Partitions) -> bool:
        """Whether other workers wait to be told how far our sources have come."""
        return self._sources.has_news(partitions)

    # Transactions

    def notes(self) -> Mapping[Partition, str]:
        """What is committed with the offsets of partitions."""
        if self._fold is None:
            return {}
        topic = str(self.paths.fold_topic)
        shards = self._fold.shards.items()
        folded = {(topic, number): states_note(shard.commits) for number, shard in shards}
        return {**self._sources.notes(), **folded}

    def watermarks(self) -> Mapping[Partition, int]:
        """The watermarks of the partitions that are here, where time matters to their states."""
        if self._fold is None or not self._fold.state.is_timed:
            return {}
        topic = str(self.paths.fold_topic)
        shards = self._fold.shards.items()
        return {(topic, number): shard.watermark.value for number, shard in shards}

    def freeze(self, transaction: Transaction, partitions: Partitions) -> Outcome:
        """Put what was changed into the open transaction, which is then committed.

        Args:
            transaction: The producer's side.
            partitions: Says which of them the transaction moves, and where to.

        Returns:
            The facts that were published.

        Raises:
            TransactionError: The transaction is of no more use.
        """
        outcome = Outcome()
        if self._fold is None:
            return outcome
        assert self._ground is not None
        topic = str(self.paths.fold_topic)
        for number, shard in self._fold.shards.items():
            partition = (topic, number)
            moved = partition in partitions.moved
            if not moved and not shard:
                continue
            # Also where it stays: what is noted with the offset says which states belong to it.
            partitions.moved.add(partition)
            offset = partitions.positions[partition] if moved else None
            if shard.facts and not self._fold.state.is_timed:
                # Otherwise a fact may be about a window, and the events have said when they were.
                outcome.arrived = max(outcome.arrived, shard.arrived)
            flush = shard.freeze(offset=offset, input_id=self._ground.ids[topic])
            transaction.note(self._product.changelog_topic, number, flush.entries)
            outcome.facts += flush.facts
        transaction.publish(self._product.output.topic, outcome.facts)
        self._sources.tell(transaction, topic, self._ground.partitions[topic], partitions)
        return outcome

    def commit(self, consumer: Consumer) -> None:
        """The transaction that was frozen is committed.

        Raises:
            PlatformError: A store cannot be written.
        """
        if self._fold is None:
            return
        # The group let us commit: nobody else has written to the changelog since it was asked.
        self._positions.update(self._heights)
        self._heights.clear()
        now = time.time()
        shards = self._fold.shards.items()
        self._writing.add({shard: Position(self._positions[n], now) for n, shard in shards})
        if not self._fold.is_keyed:
            # Whatever time does looks into the stores.
            self._writing.finish()
        if time.monotonic() - self._asked_at > _HEIGHT_SECONDS:
            self._asked_at = time.monotonic()
            for number in self._fold.shards:
                self._ask_height(number, consumer)

    def thaw(self) -> None:
        """The transaction is not committed, or perhaps not: forget its changes."""
        if self._fold is None:
            return
        for shard in self._fold.shards.values():
            shard.thaw()
        self._heights.clear()
        self._sources.untell()

    def _ask_height(self, number: int, consumer: Consumer) -> None:
        """Ask how far the changelog goes, while nothing of ours is on its way there.

        All of it is in the store, unless another worker has taken over without our knowing; the
        next commit tells. It saves reading as much again, and nothing else depends on it.
        """
        place = TopicPartition(self._product.changelog_topic, number)
        try:
            _, self._heights[number] = consumer.get_watermark_offsets(place, timeout=_ASK_SECONDS)
        except KafkaException as error:
            # The position that is there stays right.
            log.debug("%s[%d]: height not known: %s", place.topic, number, error)
