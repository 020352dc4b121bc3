"""A scene of a product that remembers: its feeds and workers, and the check of all it came to."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro

from mesh_stream.local.stack import Stack
from mesh_stream.product.loader import load_mesh
from tests.deadline import eventually
from tests.kafka.harness import broker
from tests.kafka.harness.feed import Feed
from tests.kafka.harness.reader import Read, Reader
from tests.kafka.harness.scene import Scene, provision
from tests.kafka.harness.slot import SlotProcess
from tests.kafka.harness.tallies import Kind, Moves, write_tallies
from tests.kafka.harness.tally_verifier import (
    Expected,
    check_facts,
    check_letters,
    check_state,
    expect,
    split,
)
from tests.kafka.harness.verifier import Findings, differences

DAY_MS = 86_400_000


@dataclass(slots=True)
class TallyScene(Scene):
    """One product that remembers, under torture; `feed` is the first of its feeds."""

    kind: Kind = Kind.DIRECT
    feeds: list[Feed] = field(default_factory=list)

    @property
    def changelog(self) -> str:
        return self.product.changelog_topic

    @property
    def fold_topic(self) -> str:
        """Whose partitions the states belong to."""
        return self.raw if self.kind is Kind.DIRECT else self.product.repartition_topic

    @property
    def read(self) -> list[str]:
        """What workers read: raw topics first."""
        raw = [feed.topic for feed in self.feeds]
        return raw if self.kind is Kind.DIRECT else [*raw, self.fold_topic]

    @property
    def written(self) -> list[str]:
        own = [self.changelog] if self.kind is Kind.DIRECT else [self.changelog, self.fold_topic]
        return [*self.published, *own]

    def start(self, rate: int) -> None:
        """Send about `rate` events a second, until `settle`."""
        for feed in self.feeds:
            feed.start(rate // len(self.feeds))

    def send(self, count: int, kind: str | None = None) -> None:
        """Send so many events to each raw topic now; of random kinds unless told otherwise."""
        for feed in self.feeds:
            feed.send(*(feed.goods.next(kind) for _ in range(count)))

    def lag(self) -> int:
        # Raw topics first: what they had is on the product's own topic by then.
        return sum(self._lag_of(topic) for topic in self.read)

    def _lag_of(self, topic: str) -> int:
        end = broker.ends(self.admin, [topic], stable=False)
        done = broker.committed(self.stack.bootstrap_servers, self.product.group, topic)
        return sum(end[partition] - done.get(partition, 0) for partition in end)

    def facts(self) -> list[Read]:
        """The facts that the reader has seen."""
        return [read for read in self.reader.records if read.topic == self.product.output.topic]

    def expected(self) -> Expected:
        """What must have come of all that was fed."""
        places: dict[tuple[str, int, int], Any] = {}
        for feed in self.feeds:
            places |= feed.places
        sources = [
            (feed.topic, number)
            for feed in self.feeds
            for number in range(broker.partitions_of(self.admin, feed.topic))
        ]
        return expect(self.kind, places, sources)

    def close_windows(self) -> None:
        """Let every source go far ahead, so that whatever was opened before is over."""
        [feed] = self.feeds
        feed.stop()
        assert isinstance(feed.goods, Moves)
        at = feed.goods.clock = feed.goods.clock + DAY_MS
        for number in range(broker.partitions_of(self.admin, feed.topic)):
            feed.send(feed.goods.next("good", key="last", at=at), partition=number)

    def settle(self, *, within: float) -> None:
        for feed in self.feeds:
            feed.stop()
        if self.kind is Kind.WINDOWED:
            self.close_windows()
        eventually(lambda: self.lag() == 0, within=within, what="all input committed (lag 0)")
        if self.kind is Kind.WINDOWED:
            wanted = len(self.expected().closed)
            eventually(
                lambda: len(self.facts()) >= wanted,
                within=within,
                what=f"{wanted} facts of closed windows",
            )
        self.all_read(within=within)

    def verify(self) -> list[Read]:
        self.reader.stop()
        final = Reader(self.stack.bootstrap_servers, (*self.published, self.changelog))
        self._caught_up(final, 60)
        still = eventually(
            lambda: self._still(final), within=60, what="the changelog read while nobody commits"
        )
        assert still is not None
        committed, end = still
        final.stop()
        topics = split(
            # What was committed since is not what is compared.
            read for read in final.records
            if read.topic != self.changelog or read.offset < end[read.topic, read.partition]
        )  # fmt: skip
        findings = Findings()
        expected = self.expected()
        schema = fastavro.parse_schema(dict(self.product.contract.schema))
        places: dict[tuple[str, int, int], Any] = {}
        for feed in self.feeds:
            places |= feed.places
        facts, letters = (topics.get(name, []) for name in self.published)
        check_facts(self.kind, expected, facts, schema, findings)
        check_letters(expected, letters, self.changelog, places, findings)
        check_state(
            self.kind, expected, topics.get(self.changelog, []),
            {number: offset for (_, number), offset in committed.items()}, findings,
        )  # fmt: skip
        assert not findings, f"seed {self.seed}: {findings}"
        changed = differences(self.reader.records, [*facts, *letters])
        assert not changed, f"seed {self.seed}: {changed}"
        for slot in self.slots:
            if slot.alive():
                assert slot.metric("mesh_conservation_imbalance_records") == 0
        return [*facts, *letters]

    def _still(
        self, reader: Reader
    ) -> tuple[dict[tuple[str, int], int], dict[tuple[str, int], int]] | None:
        """Committed offsets, and the changelog's ends that belong to them, read; or None.

        Workers go on telling how far their sources have come, and commit that.
        """
        before = self._committed()
        end = broker.ends(self.admin, [self.changelog], stable=True)
        eventually(
            lambda: all(reader.position(*place) >= offset for place, offset in end.items()),
            within=60,
            what="the reader at the end of the changelog",
        )
        return (before, end) if self._committed() == before else None

    def _committed(self) -> dict[tuple[str, int], int]:
        return dict(
            broker.committed(self.stack.bootstrap_servers, self.product.group, self.fold_topic)
        )

    def working(self, number: int = 0, **how: Any) -> SlotProcess:
        """A worker that was given partitions."""
        slot = self.slot(number, **how)
        slot.start()
        eventually(slot.is_reading, within=60, what="the worker with partitions")
        return slot


@contextmanager
def tallying(
    stack: Stack,
    tmp_path: Path,
    seed: int,
    kind: Kind,
    *,
    partitions: int = 4,
    bad: float = 0.01,
    accounts: int = 40,
    **changes: Any,
) -> Iterator[TallyScene]:
    """Provision a product of a name of its own; end every process and thread afterwards.

    Args:
        stack: The broker and registry.
        tmp_path: Where products, states and logs are written.
        seed: Of everything random.
        kind: Which product.
        partitions: Of each raw topic.
        bad: Share of records that have to become dead letters.
        accounts: How many there are.
        changes: To the product's declaration; see `write_tallies`.
    """
    name = f"tally-{uuid.uuid4().hex[:8]}"
    products = tmp_path / "products"
    folder = write_tallies(products, name, kind, **changes)
    product = load_mesh(products).products[name]
    admin = broker.client(stack.bootstrap_servers)
    feeds = []
    for part, port in zip("ab", product.inputs, strict=False):
        broker.create_topic(admin, port.topic, partitions)
        goods = Moves(seed, kind, part=part, bad=bad, accounts=accounts)
        feeds.append(Feed(stack.bootstrap_servers, port.topic, goods))
    provision(stack, products, product, admin)
    topics = (product.output.topic, product.dead_letter_topic)
    built = TallyScene(
        stack=stack, product=product, products=products, folder=folder, seed=seed,
        random=random.Random(seed), admin=admin, feed=feeds[0],
        reader=Reader(stack.bootstrap_servers, topics), kind=kind, feeds=feeds,
    )  # fmt: skip
    try:
        yield built
    finally:
        for slot in built.slots:
            slot.end()
        built.reader.stop()
        for feed in feeds:
            feed.stop()
