"""Looks at every product from outside: one look reads all that has moved, and makes up evidence.

The order within a look matters: what workers say and have committed comes first, ends and records
after. So a fact is never missing because it came between two questions, and what was committed is
never more than what is there.

Nothing is written and nobody's group is joined: `Describe` on topics and groups and `Read` on
topics is all that it takes. A product of which something could not be seen keeps its old evidence,
which ages until nobody believes it.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, TypeVar

from mesh_stream.errors import BrokerError, PlatformError
from mesh_stream.freshness.reading import Seen
from mesh_stream.freshness.statuses import Statuses
from mesh_stream.freshness.watched import Extent, Span, Spans, Watched
from mesh_stream.kafka import client, extent
from mesh_stream.kafka.extent import Layouts
from mesh_stream.kafka.groups import Partition
from mesh_stream.kafka.positions import Positions
from mesh_stream.kafka.probe import Probe
from mesh_stream.pipeline.avro_input import WriterSchemas
from mesh_stream.product.product import Product
from mesh_stream.runtime.status import STATUS_TOPIC
from mesh_stream.settings import Settings

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""The most that one look takes, give or take one answer."""
ASK_SECONDS = 2.0
"""For one question to the broker; also the most for one group."""
LONGEST_LOOK_SECONDS = LOOK_SECONDS + ASK_SECONDS
"""What one look takes at the very most."""
LAYOUT_SECONDS = 5.0
"""How often topics are looked up: new ones, new partitions, and those made anew."""

CLIENT_ID = "mesh.monitor"
"""Names the monitor in the broker's logs and quotas."""

PARTS: Final = ("topics", "status", "groups", "offsets", "records")
"""What a look reads, in this order; the places where it can fail."""


class Lookout:
    """Whoever looks; in one thread. `close` it.

    Args:
        products: What is looked at.
        settings: Where the broker is.
        schemas: Finds the schemas that Avro records were written with, without waiting for long.

    Attributes:
        seen: Product -> what was seen of it last. Replaced by each look, never changed.
        failures: Part of a look -> how often it failed.
        took: How long the last look took, in seconds.
    """

    def __init__(
        self, products: Iterable[Product], settings: Settings, schemas: WriterSchemas
    ) -> None:
        self._settings = settings
        self.watched = {product.name: Watched(product, schemas) for product in products}
        self.seen: Mapping[str, Seen] = {name: Seen() for name in self.watched}
        self.failures: Counter[str] = Counter(dict.fromkeys(PARTS, 0))
        self.took = 0.0
        self._admin = client.admin(settings, client_id=CLIENT_ID, on_error=lambda _error: None)
        self._probe = Probe(settings, client_id=CLIENT_ID)
        self._statuses = Statuses(settings, self.watched, client_id=CLIENT_ID)
        self._groups: dict[str, Positions] = {}
        self._order = list(self.watched)
        self._layouts = Layouts()
        self._layouts_due = 0.0
        self._ids: dict[str, str] = {}
        self._told: dict[str, str] = {}

    def close(self) -> None:
        """Let go of the connections."""
        self._statuses.close()
        self._probe.close()
        for group in self._groups.values():
            group.close()

    def look(self) -> None:
        """Look once; raises nothing that the platform may be the reason for."""
        at, began = time.time(), time.monotonic()
        deadline = began + LOOK_SECONDS
        problems: dict[str, str] = {}
        extents: dict[str, Extent] = {}
        spans: dict[str, Spans] = {}
        try:
            self._admin.poll(0)
            self._look_up(deadline)
            self._read_statuses(deadline)
            committed = self._committed(problems, deadline)
            extents = self._extents(committed, problems, deadline)
            spans = {
                name: self.watched[name].spans(extents[name])
                for name in extents
                if name not in problems
            }
            self._read_records(spans, problems, at, deadline)
        except PlatformError as error:
            problems = {name: problems.get(name, str(error)) for name in self.watched}
        self.seen = {
            name: self._seen(name, extents.get(name), problems.get(name, ""), at)
            for name in self.watched
        }
        self._tell(problems)
        self.took = time.monotonic() - began

    # The parts of a look

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        try:
            yield
        except PlatformError:
            self.failures[name] += 1
            # Whatever it was, topics may be other ones afterwards.
            self._layouts_due = 0.0
            raise

    def _look_up(self, deadline: float) -> None:
        if time.monotonic() < self._layouts_due:
            return
        topics = {topic for watched in self.watched.values() for topic in watched.topics}
        with self._part("topics"):
            found = extent.layouts(self._admin, topics | {STATUS_TOPIC}, within=_left(deadline))
        for topic, layout in found.found.items():
            # The last that was there: it may have been away for longer than between two questions.
            if self._ids.setdefault(topic, layout.id) != layout.id:
                log.warning("topic %s was made anew", topic)
                self._ids[topic] = layout.id
                for watched in self.watched.values():
                    watched.forget(topic)
        self._layouts = found
        self._layouts_due = time.monotonic() + LAYOUT_SECONDS

    def _read_statuses(self, deadline: float) -> None:
        layout = self._layouts.found.get(STATUS_TOPIC)
        places = self._layouts.partitions([STATUS_TOPIC])
        with self._part("status"):
            begins = extent.begins(self._admin, places, within=_left(deadline))
            ends = extent.ends(self._admin, places, within=_left(deadline))
        # The first time there may be many; the others' turn must come, too.
        soon = min(deadline, time.monotonic() + LOOK_SECONDS / 4)
        try:
            with self._part("status"):
                if not self._statuses.read(layout, begins, ends, deadline=soon):
                    self.failures["status"] += 1
        except PlatformError as error:
            # The other witnesses do without this one.
            self._statuses.forget_connection()
            log.warning("cannot read what workers say of themselves: %s", error)

    def _committed(
        self, problems: dict[str, str], deadline: float
    ) -> dict[str, dict[Partition, int]]:
        """Product -> how far its group is; of those whose topics are there."""
        found: dict[str, dict[Partition, int]] = {}
        for name in list(self._order):
            watched = self.watched[name]
            missing = [topic for topic in watched.needs if topic not in self._layouts.found]
            if missing:
                problems[name] = "; ".join(
                    self._layouts.missing.get(topic, f"topic {topic} was not found")
                    for topic in missing
                )
                continue
            left = min(ASK_SECONDS, deadline - time.monotonic())
            if left <= 0:
                problems[name] = "there was no time left to ask for its group's offsets"
                self.failures["groups"] += 1
                continue
            try:
                with self._part("groups"):
                    places = self._layouts.partitions(watched.reads)
                    found[name] = self._group(watched).committed(places, within=left)
            except PlatformError as error:
                problems[name] = str(error)
                # Next time it must not keep the others from being asked.
                self._order.remove(name)
                self._order.append(name)
        return found

    def _group(self, watched: Watched) -> Positions:
        group = watched.product.group
        if group not in self._groups:
            self._groups[group] = Positions(self._settings, group, client_id=CLIENT_ID)
        return self._groups[group]

    def _extents(
        self,
        committed: Mapping[str, dict[Partition, int]],
        problems: dict[str, str],
        deadline: float,
    ) -> dict[str, Extent]:
        """Product -> how far its group and topics are."""
        places = {name: self._layouts.partitions(self.watched[name].topics) for name in committed}
        every = sorted({partition for these in places.values() for partition in these})
        with self._part("offsets"):
            begins = extent.begins(self._admin, every, within=_left(deadline))
            ends = extent.ends(self._admin, every, within=_left(deadline))
        found: dict[str, Extent] = {}
        for name, these in places.items():
            lacking = [
                partition for partition in these if partition not in begins or partition not in ends
            ]
            if lacking:
                problems[name] = f"partition {lacking[0][0]}[{lacking[0][1]}] has no leader"
                self.failures["offsets"] += 1
                self._layouts_due = 0.0
                continue
            found[name] = Extent(
                committed[name],
                {partition: begins[partition] for partition in these},
                {partition: ends[partition] for partition in these},
            )
        return found

    def _read_records(
        self, spans: Mapping[str, Spans], problems: dict[str, str], at: float, deadline: float
    ) -> None:
        """Have every product told of the records that it has to know."""
        every = spans.values()
        with self._part("records"):
            heads = _ask(self._probe.first, (one.heads for one in every), deadline)
            tails = _ask(self._probe.newest, (one.tails for one in every), deadline)
            facts = _ask(self._probe.newest, (one.facts for one in every), deadline)
        for name, wanted in spans.items():
            watched = self.watched[name]
            lacking = [
                partition
                for asked, found in (
                    (wanted.heads, heads), (wanted.tails, tails), (wanted.facts, facts),
                )
                for partition, span in asked.items()
                if (partition, span) not in found
            ]  # fmt: skip
            if lacking:
                problems[name] = f"{lacking[0][0]}[{lacking[0][1]}] could not be read in time"
                self.failures["records"] += 1
            for partition, span in wanted.heads.items():
                if (partition, span) in heads and span[0] < span[1]:
                    watched.take_head(span, partition, heads[partition, span], at)
            for partition, span in wanted.tails.items():
                if (partition, span) in tails:
                    watched.take_tail(span, partition, tails[partition, span], at)
            for partition, span in wanted.facts.items():
                if (partition, span) in facts:
                    watched.take_facts(span, partition, facts[partition, span], at)

    # What came of it

    def _seen(self, name: str, reached: Extent | None, problem: str, at: float) -> Seen:
        watched, before = self.watched[name], self.seen[name]
        statuses = self._statuses.of(name)
        if problem or reached is None:
            return replace(before, statuses=statuses, problem=problem)
        letters = watched.product.dead_letter_topic
        return Seen(
            evidence=watched.evidence(statuses, at),
            statuses=statuses,
            unread=sum(
                end - reached.start(partition)
                for partition, end in reached.ends.items()
                if partition[0] in watched.reads
            ),
            dead_letters=sum(
                end - reached.begins[partition]
                for partition, end in reached.ends.items()
                if partition[0] == letters
            ),
            ends=reached.ends,
        )

    def _tell(self, problems: Mapping[str, str]) -> None:
        """Log what cannot be seen: once, and not again until it is something else."""
        told = self._told
        for problem in sorted(set(problems.values()) - set(told.values())):
            concerned = sorted(name for name, found in problems.items() if found == problem)
            log.warning("cannot see %s: %s", _named(concerned), problem)
        seen_again = sorted(told.keys() - problems.keys())
        if seen_again:
            log.warning("can see %s again", _named(seen_again))
        self._told = dict(problems)


def _left(deadline: float) -> float:
    """How long the next question to the broker may take.

    Raises:
        BrokerError: There is no time left for one.
    """
    left = min(ASK_SECONDS, deadline - time.monotonic())
    if left <= 0:
        raise BrokerError(f"the broker is slow: in {LOOK_SECONDS:.0f} s not all could be asked")
    return left


def _named(names: list[str]) -> str:
    few = ", ".join(names[:5])
    return few if len(names) <= 5 else f"{few} and {len(names) - 5} more"


_Found = TypeVar("_Found")


def _ask(
    read: Callable[..., dict[Partition, _Found]],
    asked: Iterable[Mapping[Partition, Span]],
    deadline: float,
) -> dict[tuple[Partition, Span], _Found]:
    """Read spans of which several may lie in one partition, which can be read in one place a time.

    A partition that was not read in time is left out.
    """
    rounds: list[dict[Partition, Span]] = []
    for partition, span in {place for one in asked for place in one.items()}:
        for places in rounds:
            if partition not in places:
                places[partition] = span
                break
        else:
            rounds.append({partition: span})
    return {
        (partition, places[partition]): records
        for places in rounds
        for partition, records in read(places, deadline=deadline).items()
    }
