"""What one worker remembers: the shards of its partitions, from restore to commit.

A partition of the fold's topic is processed while its shard is here, and waits otherwise. Around
each transaction:

    freeze   its changes go into it: facts, changelog records, the progress of sources
    commit   it is committed: the stores take the changes
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

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from mesh_stream.errors import PlatformError, StateLostError
from mesh_stream.kafka.topics import TOMBSTONE_RETENTION_MS
from mesh_stream.pipeline.events import Notice, source_of
from mesh_stream.pipeline.fold import Fold
from mesh_stream.pipeline.paths import Paths
from mesh_stream.pipeline.record import Outcome
from mesh_stream.pipeline.shard import Shard
from mesh_stream.pipeline.state_layout import changes_that_matter, codec_of, index_of, type_entry
from mesh_stream.pipeline.windows import NEVER
from mesh_stream.product.product import Product
from mesh_stream.runtime.partitions import Partition, Partitions
from mesh_stream.runtime.restore import Restorer, Restoring
from mesh_stream.runtime.store import Position, Store
from mesh_stream.runtime.transaction import Transaction

log = logging.getLogger(__name__)

CLOSED_AT_ONCE = 5_000
"""Windows that are closed in one turn of the loop: a million of them must not hold it up."""
STORE_AGE_SECONDS = TOMBSTONE_RETENTION_MS / 2000
"""A store that was away for longer may have missed a deletion that is no longer told."""
_PROGRESS_SECONDS = 0.1
_POSITION_SECONDS = 30.0
_ASK_SECONDS = 2.0
_CANCEL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Ground:
    """What a worker's states stand on.

    Attributes:
        folder: Where its stores lie; of this slot and this changelog alone.
        identity: What a store must have been made for, to be of use.
        input_id: The id of the fold's topic on the broker.
        partitions: Input topic -> how many partitions it has; of all inputs, and the fold's topic.
        restorer: Restores the stores.
    """

    folder: Path
    identity: str
    input_id: str
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
        self._told = Notice({})
        self._told_at = 0.0
        self._heard: dict[Partition, float] = {}
        self._positions: dict[int, int] = {}
        self._asked_at = time.monotonic()
        if paths.fold is not None:
            state = paths.fold.state
            self._codec = codec_of(state)
            self._index = index_of(state)
            self._type_entry = type_entry(state)

    # Partitions

    def assign(self, partitions: Partitions, committed: Mapping[Partition, int | None]) -> None:
        """Partitions are ours; those that have states wait until these are here.

        Args:
            partitions: Where each of them is read.
            committed: The group's committed offsets; None for one it never committed.

        Raises:
            PlatformError: A store cannot be opened.
            StateLostError: There is a partition that the states were not made for.
        """
        for (topic, number), offset in committed.items():
            self._heard[topic, number] = time.monotonic()
            self._recall(topic, number, partitions.notes[topic, number])
            if topic == self.paths.fold_topic:
                self._open_store(topic, number)
                self._restore(partitions, number, offset)

    def resume(self, partitions: Partitions, committed: Mapping[Partition, int | None]) -> None:
        """Go on from the committed offsets, after something went wrong.

        A transaction of unknown outcome may have been committed after all: then the states are
        behind, and read on in the changelog.
        """
        for (topic, number), offset in committed.items():
            self._recall(topic, number, partitions.notes[topic, number])
            if topic != self.paths.fold_topic or number in self._restoring:
                continue
            assert self._fold is not None
            if self._fold.shards[number].offset != offset:
                del self._fold.shards[number]
                self._restore(partitions, number, offset)

    def proceed(self, partitions: Partitions) -> None:
        """Have partitions read whose states are here now.

        Raises:
            MeshError: They could not be restored, or not be read.
        """
        done = [number for number, task in self._restoring.items() if task.finished.is_set()]
        for number in done:
            task = self._restoring.pop(number)
            if task.failure is not None:
                raise task.failure
            self._open(number, task)
            partitions.proceed((str(self.paths.fold_topic), number))

    def _recall(self, topic: str, number: int, note: str) -> None:
        """How far a source of events had come, by what was committed with its offset."""
        if (forward := self.paths.forwards.get(topic)) is not None:
            forward.highest[source_of(topic, number)] = int(note) if note else NEVER

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
                folder, identity=ground.identity, max_age=STORE_AGE_SECONDS
            )

    def _restore(self, partitions: Partitions, number: int, committed: int | None) -> None:
        assert self._ground is not None
        task = Restoring(number, self._stores[number], committed, self._index)
        self._restoring[number] = task
        self._ground.restorer.begin(task)
        partitions.wait((str(self.paths.fold_topic), number))

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
            sources=self._sources(number),
            cached=max(1, self._product.limits.cached_states // max(1, len(self._stores))),
            type_entry=self._type_entry,
        )
        if shard.input_id not in ("", self._ground.input_id):
            raise StateLostError(
                self._product.name,
                [f"{self.paths.fold_topic} was created anew since its states were made"],
            )

    def _sources(self, number: int) -> Iterable[str]:
        assert self._ground is not None
        if not self.paths.forwards:
            return [source_of(str(self.paths.fold_topic), number)]
        return [
            source_of(topic, partition)
            for topic in self.paths.forwards
            for partition in range(self._ground.partitions[topic])
        ]

    def drop(self, partitions: Iterable[tuple[str, int]], *, clean: Consumer | None) -> None:
        """Give partitions up.

        Args:
            partitions: Those.
            clean: Asked how far the changelog goes where everything is committed; None where not.
        """
        for topic, number in partitions:
            self._heard.pop((topic, number), None)
            if (forward := self.paths.forwards.get(topic)) is not None:
                forward.highest.pop(source_of(topic, number), None)
            if topic != self.paths.fold_topic:
                continue
            assert self._fold is not None
            if (task := self._restoring.pop(number, None)) is not None:
                task.cancelled.set()
                if not task.finished.wait(_CANCEL_SECONDS):
                    # Its thread hangs on the broker, and may yet write: the store stays its own.
                    self._stores.pop(number, None)
                    continue
            shard = self._fold.shards.pop(number, None)
            store = self._stores.pop(number, None)
            if store is None:
                continue
            if shard is not None and clean is not None:
                self._note_position(number, store, clean)
            store.close()

    def close(self, clean: Consumer | None) -> None:
        """Give everything up."""
        topic = self.paths.fold_topic
        if topic is not None and self._ground is not None:
            self.drop([(topic, number) for number in list(self._stores)], clean=clean)
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
        self._heard.update(dict.fromkeys(partitions, time.monotonic()))

    def has_news(self, partitions: Partitions) -> bool:
        """Whether other workers wait to be told how far our sources have come."""
        if not self.paths.forwards:
            return False
        return self._progress(partitions) != self._told

    def _progress(self, partitions: Partitions) -> Notice:
        highest: dict[str, int] = {}
        for forward in self.paths.forwards.values():
            highest |= {source: at for source, at in forward.highest.items() if at > NEVER}
        assert self._fold is not None
        silence = time.monotonic() - self._fold.state.idle / 1000
        idle = [
            source_of(*partition)
            for partition, heard in self._heard.items()
            if partition[0] in self.paths.forwards
            and heard < silence
            and partitions.lag(partition) == 0
        ]
        return Notice(highest, tuple(sorted(idle)))

    # Transactions

    def notes(self) -> Mapping[Partition, str]:
        """What is committed with the offsets of partitions: their highest event time."""
        return {
            partition: str(at)
            for topic, forward in self.paths.forwards.items()
            for partition in self._heard
            if partition[0] == topic
            and (at := forward.highest.get(source_of(*partition), NEVER)) > NEVER
        }

    def freeze(self, transaction: Transaction, partitions: Partitions) -> Outcome:
        """Put what was changed into the open transaction, which is then committed.

        Args:
            transaction: The producer's side.
            partitions: Says which of them the transaction moves, and where to.

        Returns:
            The facts that were published.

        Raises:
            HaltError: A state does not fit its type.
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
            offset = partitions.positions[partition] if moved else None
            flush = shard.freeze(offset=offset, input_id=self._ground.input_id)
            transaction.note(self._product.changelog_topic, number, flush.entries)
            outcome.facts += flush.facts
        transaction.publish(self._product.output.topic, outcome.facts)
        self._tell_progress(transaction, partitions)
        return outcome

    def _tell_progress(self, transaction: Transaction, partitions: Partitions) -> None:
        now = time.monotonic()
        if not self.paths.forwards or now - self._told_at < _PROGRESS_SECONDS:
            return
        progress = self._progress(partitions)
        if progress == self._told:
            return
        assert self._ground is not None
        topic = self._product.repartition_topic
        encoded = msgspec.json.encode(progress)
        for number in range(self._ground.partitions[topic]):
            transaction.tell(topic, number, encoded)
        self._told, self._told_at = progress, now

    def commit(self, consumer: Consumer) -> None:
        """The transaction that was frozen is committed.

        Raises:
            PlatformError: A store cannot be written.
        """
        if self._fold is None:
            return
        now = time.time()
        for number, shard in self._fold.shards.items():
            shard.commit(Position(self._positions[number], now))
        if time.monotonic() - self._asked_at > _POSITION_SECONDS:
            self._asked_at = time.monotonic()
            for number in self._fold.shards:
                self._note_position(number, self._stores[number], consumer)

    def thaw(self) -> None:
        """The transaction is not committed, or perhaps not: forget its changes."""
        if self._fold is None:
            return
        for shard in self._fold.shards.values():
            shard.thaw()
        self._told = Notice({})

    def _note_position(self, number: int, store: Store, consumer: Consumer) -> None:
        """Have a store know how far the changelog goes, while nothing of ours is on its way there.

        It saves reading as much again, and nothing depends on it.
        """
        place = TopicPartition(self._product.changelog_topic, number)
        try:
            _, high = consumer.get_watermark_offsets(place, timeout=_ASK_SECONDS)
            store.apply({}, Position(high, time.time()))
        except (KafkaException, PlatformError) as error:
            # The position that is there stays right.
            log.debug("%s[%d]: position not noted: %s", place.topic, number, error)
        else:
            self._positions[number] = high
