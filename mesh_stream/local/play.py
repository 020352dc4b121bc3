"""One demo while it runs: started, watched, and its books closed.

The books are closed in order: feed no more; wait until every group has read its inputs to the end;
wait until the follower has read every topic to the end; then hold the workers' counters against
what was read.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter

import httpx

from mesh_stream.errors import MeshError
from mesh_stream.freshness.figures import Figures, Slot, total
from mesh_stream.kafka.groups import Offsets
from mesh_stream.kafka.reader import Reader
from mesh_stream.kafka.registry import SchemaRegistry
from mesh_stream.local.arrivals import Arrivals, Starts
from mesh_stream.local.books import Account, Fed, Summary
from mesh_stream.local.crew import Crew, Feeding
from mesh_stream.local.interrupts import Interrupts
from mesh_stream.local.screen import Row, Screen
from mesh_stream.pipeline.avro_input import AvroReader
from mesh_stream.product.product import Mesh, Product
from mesh_stream.settings import Settings

_TICK_SECONDS = 0.5
_GLANCE_SECONDS = 0.1
# A worker that has no partition yet, or waits for the coordinator, is fed all the same after this.
_START_SECONDS = 15.0
# How long nothing may happen while what was fed is worked off.
_STALL_SECONDS = 30.0
# Counters are told a moment after the commit.
_SETTLE_SECONDS = 5.0
# The feed's own time-out for a delivery, and a little.
_ACKNOWLEDGE_SECONDS = 35.0


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a demo sees the mesh through, from outside the workers.

    Attributes:
        settings: Where broker and registry are.
        registry: The registry's client.
        asker: A reader that is asked for the ends of topics.
        follower: A reader that follows the topics.
    """

    settings: Settings
    registry: SchemaRegistry
    asker: Reader
    follower: Reader


class Play:
    """The running parts of one demo.

    Args:
        mesh: Every product; all of them run.
        outlook: How it is seen.
        crew: The workers, not yet started.
        feeding: The feed, not yet started; None where there is nothing to feed.
        interrupts: Ends everything early.
    """

    def __init__(
        self,
        mesh: Mesh,
        *,
        outlook: Outlook,
        crew: Crew,
        feeding: Feeding | None,
        interrupts: Interrupts,
    ) -> None:
        self._products = list(_upstream_first(mesh))
        self._asker = outlook.asker
        self._offsets = {
            product.name: Offsets(outlook.settings, product.group) for product in self._products
        }
        self._crew = crew
        self._feeding = feeding
        self._interrupts = interrupts
        self._began = 0.0
        self._http = httpx.Client(trust_env=False)
        self._slots: dict[str, list[Slot]] = {}
        for slot in crew.slots:
            self._slots.setdefault(slot.product, []).append(Slot(slot.metrics))
        fed = self._asker.bounds(feeding.topics) if feeding else {}
        self._arrivals = Arrivals(
            {product.name: (product, self._starts(product)) for product in self._products},
            {partition: high for partition, (_, high) in fed.items()},
            reader=outlook.follower,
            schemas=AvroReader(outlook.registry, reader=None),
        )

    def _starts(self, product: Product) -> Starts:
        bounds = self._asker.bounds(_read_by(product))
        done = self._offsets[product.name].committed(bounds)
        ends = {
            topic: {at: high for at, (_, high) in self._asker.bounds([topic]).items()}
            for topic in (product.output.topic, product.dead_letter_topic)
        }
        return Starts(
            inputs={at: done.get(at, low) for at, (low, _) in bounds.items()},
            facts=ends[product.output.topic],
            letters=ends[product.dead_letter_topic],
        )

    def start(self, screen: Screen) -> None:
        """Start the follower and the workers; and the feed, once the workers run.

        What came before them would only show how long they take to start.
        """
        self._began = time.monotonic()
        self._arrivals.start()
        self._crew.start()
        while time.monotonic() < self._began + _START_SECONDS:
            self._raise_failure()
            rows = self._rows()
            screen.show(rows, "starting the workers")
            waiting = [row for row in rows.values() if not row.runs() and not row.has_given_up]
            if not waiting or self._interrupts.requested.wait(_GLANCE_SECONDS):
                break
        self._began = time.monotonic()
        if self._feeding is not None and not self._interrupts.requested.is_set():
            self._feeding.start()

    def end(self) -> None:
        """End all of it; what was not worked off is left for the next run."""
        if self._feeding is not None:
            self._feeding.end()
        self._arrivals.stop()
        self._crew.end()
        self._http.close()
        for offsets in self._offsets.values():
            offsets.close()

    def hurry(self) -> None:
        """End the workers at once."""
        self._crew.hurry()

    def watch(self, screen: Screen, *, seconds: float | None) -> Mapping[str, Row]:
        """Show how it goes, for some seconds or until interrupted; returns the last that was shown.

        Raises:
            MeshError: The feed or the follower failed, or no worker is left.
        """
        while True:
            self._raise_failure()
            rows = self._rows()
            screen.show(rows, self._feed_text())
            left = _TICK_SECONDS
            if seconds is not None:
                left = min(left, self._began + seconds - time.monotonic())
            if left <= 0 or self._interrupts.requested.wait(left):
                return rows

    def close(self, screen: Screen) -> Summary | None:
        """Stop the feed, wait for the rest, and check the books; None where interrupted.

        Raises:
            MeshError: The feed or the follower failed, or no worker is left.
        """
        if self._feeding is not None:
            self._feeding.end(within=_ACKNOWLEDGE_SECONDS)
        problems = []
        if left := self._work_off(screen):
            problems.append(left)
        if left := self._read_off():
            problems.append(left)
        if self._interrupts.requested.is_set():
            return None
        deadline = time.monotonic() + _SETTLE_SECONDS
        # Meanwhile the reader goes on: workers still tell each other how far time has come.
        while (summary := self._summary(problems)).differences() and time.monotonic() < deadline:
            self._interrupts.requested.wait(0.1)
        return summary

    def _summary(self, problems: list[str]) -> Summary:
        accounts = {
            product.name: Account(
                product,
                told=self._ask(product),
                read=self._arrivals.as_of_now(product.name),
                restarts=self._crew.restarts(product.name),
            )
            for product in self._products
        }
        feeding = self._feeding
        fed = Fed(feeding.topics, feeding.sent.delivered) if feeding else None
        return Summary(accounts, fed, self._arrivals.fed, tuple(problems))

    def _work_off(self, screen: Screen) -> str:
        """Wait until every group has read its inputs to the end; says what is left if not."""
        before, deadline = None, 0.0
        while not self._interrupts.requested.is_set():
            self._raise_failure()
            behind = {product.name: self._behind(product) for product in self._products}
            behind = {name: records for name, records in behind.items() if records}
            if not behind:
                return ""
            screen.show(self._rows(), "fed; waiting for the rest")
            if behind != before:
                before, deadline = behind, time.monotonic() + _STALL_SECONDS
            lost = [name for name in behind if self._crew.has_given_up(name)]
            if lost or time.monotonic() > deadline:
                rest = ", ".join(f"{name} {records:,}" for name, records in behind.items())
                why = f"{', '.join(lost)} stopped" if lost else "nothing moves any more"
                return f"input records were left unread ({rest}): {why}"
            self._interrupts.requested.wait(0.1)
        return ""

    def _behind(self, product: Product) -> int:
        bounds = self._asker.bounds(_read_by(product))
        done = self._offsets[product.name].committed(bounds)
        return sum(high - done.get(at, low) for at, (low, high) in bounds.items())

    def _read_off(self) -> str:
        """Wait until the follower has read every topic to the end; says so if it does not."""
        topics = [topic for product in self._products for topic in _read_by(product)]
        for product in self._products:
            topics += [product.output.topic, product.dead_letter_topic]
        ends = {at: high for at, (_, high) in self._asker.bounds(topics).items()}
        deadline = time.monotonic() + _STALL_SECONDS
        while not self._arrivals.has_reached(ends):
            self._raise_failure()
            if time.monotonic() > deadline:
                return f"the topics were not read to their ends within {_STALL_SECONDS:.0f} s"
            if self._interrupts.requested.wait(0.05):
                break
        return ""

    def _raise_failure(self) -> None:
        failure = self._arrivals.failure
        if failure is None and self._feeding is not None:
            failure = self._feeding.failure
        if failure is not None:
            raise failure
        if all(self._crew.has_given_up(product.name) for product in self._products):
            raise MeshError("no worker is left: none of the products can run")

    def _ask(self, product: Product) -> Figures:
        return total(slot.ask(self._http) for slot in self._slots[product.name])

    def _rows(self) -> dict[str, Row]:
        return {
            product.name: Row(
                product,
                self._ask(product),
                self._arrivals.of[product.name].recent,
                has_given_up=self._crew.has_given_up(product.name),
                restarts=self._crew.restarts(product.name),
            )
            for product in self._products
        }

    def _feed_text(self) -> str:
        feeding = self._feeding
        elapsed = time.monotonic() - self._began
        clock = f"{int(elapsed) // 60:02d}:{int(elapsed) % 60:02d}"
        return f"{clock}, {feeding.sent.delivered:,} fed" if feeding else clock


def _read_by(product: Product) -> list[str]:
    """What a product's workers read: its inputs, and its own topic where its events are keyed."""
    topics = [port.topic for port in product.inputs]
    if product.state is not None and product.state.repartitions:
        topics.append(product.repartition_topic)
    return topics


def _upstream_first(mesh: Mesh) -> Iterator[Product]:
    """A product comes after those whose facts it reads: then one look at each sees all done."""
    needs = {
        product.name: {port.product for port in product.inputs if port.product in mesh.products}
        for product in mesh.products.values()
    }
    for name in TopologicalSorter(needs).static_order():
        assert name is not None
        yield mesh.products[name]
