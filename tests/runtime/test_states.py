"""States between commits that happened, did not, or perhaps did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, TopicPartition

from mesh_stream.errors import StateLostError
from mesh_stream.pipeline.entries import STATE
from mesh_stream.pipeline.notes import source_note
from mesh_stream.pipeline.paths import paths_of
from mesh_stream.pipeline.record import Fact
from mesh_stream.pipeline.state_codec import Written
from mesh_stream.product.product import Product
from mesh_stream.runtime import states as room
from mesh_stream.runtime.partitions import Partition, Partitions
from mesh_stream.runtime.restore import Restorer, Restoring
from mesh_stream.runtime.states import Ground, States
from mesh_stream.runtime.transaction import Transaction
from tests.product.folds import product as load

KEYED = "inputs: [{topic: raw.stock, key: sku}]\nstate: {key: sku}"
UNKEYED = "inputs: [{topic: raw.stock}]\nstate: {key: sku}"
TIMED = "inputs: [{topic: raw.stock, key: sku}]\nstate: {key: sku, ttl: 1_hour}"
KEY = STATE + b"a"
P = ("raw.stock", 0)


class Restored:
    """A restorer that has nothing to do, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[Restoring] = []
        self.has_records = False

    def begin(self, task: Restoring) -> None:
        self.asked.append(task)
        task.finished.set()

    def holds_records(self, _topic: str, _width: int) -> bool:
        return self.has_records

    def close(self) -> None: ...


class Read:
    """As much of the consumer's side as states use."""

    def __init__(self) -> None:
        self.positions = {P: 0}
        self.moved: set[Partition] = set()
        self.notes: dict[Partition, str] = {P: ""}
        self.offsets: dict[Partition, int | None] = {P: None}

    def wait(self, _partition: Partition) -> None: ...

    def proceed(self, _partition: Partition) -> None: ...

    def lag(self, _partition: Partition) -> int:
        return 0

    def committed(
        self, asked: list[TopicPartition], *, within: float
    ) -> dict[Partition, int | None]:
        return {
            (tp.topic, tp.partition): self.offsets.get((tp.topic, tp.partition)) for tp in asked
        }


class Produced:
    """Where a transaction's records go: nowhere."""

    def note(self, *_: Any) -> None: ...

    def publish(self, *_: Any) -> None: ...

    def tell(self, *_: Any) -> None: ...


class Height:
    """A consumer that tells how far the changelog goes."""

    def __init__(self) -> None:
        self.high = 0

    def get_watermark_offsets(self, _place: TopicPartition, timeout: float) -> tuple[int, int]:
        return 0, self.high


class Made:
    """One worker's states, and what they stand on."""

    def __init__(self, root: Path, declared: str) -> None:
        self.product: Product = load(root / "product", declared)
        self.restored, self.read, self.height = Restored(), Read(), Height()
        names = ["raw.stock", *self.product.own_topics]
        ground = Ground(
            folder=root / "state",
            identity="stock",
            ids=dict.fromkeys(names, "id"),
            partitions=dict.fromkeys(names, 1),
            restorer=cast("Restorer", self.restored),
        )
        paths = paths_of(self.product, schema_id=1, writers=cast("Any", None))
        self.states = States(self.product, paths, ground)

    @property
    def partitions(self) -> Partitions:
        return cast("Partitions", self.read)

    def assign(self, committed: int | None = None) -> None:
        self.states.assign(self.partitions, {P: committed}, within=1)
        self.states.proceed(self.partitions)

    def change(self, value: bytes | None, *, to: int | None = None) -> dict[Partition, str]:
        """One transaction, frozen: a state, and perhaps a position; returns what it notes."""
        assert self.states.paths.fold is not None
        written = None if value is None else Written(value, value)
        self.states.paths.fold.shards[0].put(KEY, written)
        self.read.moved.clear()
        if to is not None:
            self.read.positions[P] = to
            self.read.moved.add(P)
        self.states.freeze(cast("Transaction", Produced()), self.partitions)
        return dict(self.states.notes())

    def commit(self) -> None:
        self.states.commit(cast("Consumer", self.height))

    def position(self) -> int:
        self.states._writing.finish()
        position = self.states._stores[0].position
        assert position is not None
        return position.changelog


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    one = Made(tmp_path, KEYED)
    one.assign()
    yield one
    one.states.close()


def test_every_transaction_that_changes_states_notes_so_beside_their_offset(made: Made) -> None:
    assert made.change(b"1", to=5) == {P: "1"}
    made.commit()
    # A window closed, or a state grown old: nothing was read for it.
    assert made.change(None) == {P: "2"}
    assert made.read.moved == {P}


def test_one_of_unknown_outcome_that_moved_no_offset_is_told_by_the_note(made: Made) -> None:
    made.change(b"1", to=5)
    made.commit()
    made.change(None)
    made.states.thaw()

    made.read.notes[P] = "1"
    made.states.resume(made.partitions, {P: 5})
    assert len(made.restored.asked) == 1

    made.read.notes[P] = "2"
    made.states.resume(made.partitions, {P: 5})
    assert [(task.committed, task.commits) for task in made.restored.asked[1:]] == [(5, 2)]


def test_a_store_takes_the_changelogs_height_only_once_a_later_commit_has_shown_it_its_own(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_HEIGHT_SECONDS", 0.0)
    made.height.high = 10
    made.change(b"1", to=5)
    made.commit()
    assert made.position() == 0

    made.height.high = 20
    made.change(b"2", to=6)
    made.commit()
    assert made.position() == 10

    # What another worker wrote, after it had taken over, is never counted as ours.
    made.height.high = 99
    made.change(b"3", to=7)
    made.states.thaw()
    made.change(b"3", to=7)
    made.commit()
    assert made.position() == 10


def test_watermarks_are_told_where_time_matters(tmp_path: Path) -> None:
    timed = Made(tmp_path, TIMED)
    timed.assign()
    assert timed.states.paths.fold is not None
    timed.states.paths.fold.shards[0].watermark.value = 77

    assert timed.states.watermarks() == {P: 77}
    timed.states.close()


def test_watermarks_are_not_told_where_it_does_not(made: Made) -> None:
    assert made.states.watermarks() == {}


@pytest.mark.parametrize(
    ("declared", "arrived"), [(KEYED, 7), (f"{KEYED[:-1]}, ttl: 1_hour}}", -1)]
)
def test_only_facts_that_are_about_no_time_say_how_new_their_input_is(
    tmp_path: Path, declared: str, arrived: int
) -> None:
    one = Made(tmp_path, declared)
    one.assign()
    assert one.states.paths.fold is not None
    shard = one.states.paths.fold.shards[0]
    shard.arrived = 7
    shard.publish(KEY, Fact(b"", None, 5, 7))

    outcome = one.states.freeze(cast("Transaction", Produced()), one.partitions)

    assert (len(outcome.facts), outcome.arrived) == (1, arrived)
    one.states.close()


@pytest.fixture
def sending(tmp_path: Path) -> Iterator[Made]:
    """States of a product that keys its events."""
    one = Made(tmp_path, UNKEYED)
    yield one
    one.states.close()


def test_a_group_that_was_forgotten_is_refused_before_anything_is_sent_on_again(
    sending: Made,
) -> None:
    sending.assign()
    sending.restored.has_records = True
    with pytest.raises(StateLostError, match="the group has no offsets, but mesh"):
        sending.assign()

    # A partition that the input got lately: others of the group have theirs.
    sending.read.offsets[sending.product.repartition_topic, 0] = 4
    sending.assign()


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ("", r"the group's offset of raw.stock\[0\], 3, was set by hand"),
        ("7", r"the group's offset of raw.stock\[0\], 3, was set by hand"),
        (source_note("another", 7), "raw.stock was created anew since its events were counted"),
    ],
)
def test_an_offset_of_a_source_without_its_note_is_refused(
    sending: Made, note: str, said: str
) -> None:
    sending.read.notes[P] = note
    with pytest.raises(StateLostError, match=said):
        sending.assign(3)
    sending.read.notes[P] = source_note("id", 7)
    sending.assign(3)
    assert sending.states.notes() == {P: source_note("id", 7)}
