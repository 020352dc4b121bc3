"""Beginning anew: what a product has on the broker and on this machine, and how it is taken away.

A worker refuses where the changelog's own account of the input's next offset is not the group's
committed one, where a topic is missing, or where a position lies outside its topic. A reset may be
killed between any two of its steps, somebody may run `apply` just then and start a worker: it must
refuse, or be right, but never go on with half of what was. So what tells of the old life goes in
this order:

    1. the repartition topic   events of the old life must not be folded into the new one; from
                               here on no position in it is what the changelog says
    2. the group's offsets     nothing is committed, but the changelog tells of offsets: refused
    3. the changelog           the last thing that tells of the old life: without it the product is
                               as one that never ran
    4. both topics, anew       the changelog last: while it is missing, no worker starts

The offsets after the changelog would be wrong: a product that has no changelog and no position on
its repartition topic (which brokers forget with the topic) is one that goes on, with nothing in
mind, in the middle of its input.

With the positions kept, that is just what is wanted. The second step is left out, and the last is
one transaction that commits positions and what the new changelog says of them. Before it, a worker
refuses an empty changelog whose input has a committed offset.

Local stores go last. They are caches of a changelog, each under its id: no worker looks at those of
one that is gone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mesh_stream.errors import MeshError, NotProvisionedError, StoreError
from mesh_stream.kafka import resetting, topics
from mesh_stream.kafka.client import Admin
from mesh_stream.kafka.groups import Offsets, committed, members
from mesh_stream.kafka.reader import Reader
from mesh_stream.kafka.topics import Topic
from mesh_stream.mesh.actions import CreateTopic, counted
from mesh_stream.mesh.plan import repartition_width
from mesh_stream.pipeline.notes import source_note, source_of_note
from mesh_stream.pipeline.windows import NEVER
from mesh_stream.product.product import Product, State
from mesh_stream.settings import Settings


@dataclass(frozen=True, slots=True)
class Place:
    """One partition that the product reads.

    Attributes:
        topic: Its topic.
        partition: Its number.
        first: The first offset that is there.
        end: The one after the last.
        committed: The group's next; None where it never committed one.
        next: Where the product begins after the reset; None: at the first that is there then.
    """

    topic: str
    partition: int
    first: int
    end: int
    committed: int | None
    next: int | None = None

    @property
    def missed(self) -> int:
        """Records that retention has removed before they were read; 0 where it was not that."""
        return 0 if self.committed is None else max(0, self.first - self.committed)

    @property
    def recreated(self) -> bool:
        """Whether the group is past the end, which no topic of the same name was when it was."""
        return self.committed is not None and self.committed > self.end


@dataclass(frozen=True, slots=True)
class OwnTopic:
    """A topic of the product's own: as it is, and as it is made anew.

    Attributes:
        found: The topic that is there, or None.
        records: Offsets in it.
        anew: What is created in its place.
    """

    found: Topic | None
    records: int
    anew: CreateTopic


@dataclass(frozen=True, slots=True)
class Situation:
    """What a reset finds.

    Attributes:
        product: The product.
        keep: Whether the positions are kept.
        members: Who is in its group now.
        inputs: Every partition of its inputs.
        passing: Every partition of its repartition topic, as it is.
        own: Its own topics; the changelog last.
        stores: Where its local stores are; None where this machine has none.
    """

    product: Product
    keep: bool
    members: tuple[str, ...]
    inputs: tuple[Place, ...]
    passing: tuple[Place, ...]
    own: tuple[OwnTopic, ...]
    stores: Path | None

    @property
    def positions(self) -> dict[tuple[str, int], int]:
        """What has to be committed for the product to begin where it is to."""
        state = self.product.state
        positions = {
            (place.topic, place.partition): place.next
            for place in self.inputs
            if place.next is not None and (state is not None or place.next != place.committed)
        }
        if self.keep and state is not None and state.repartitions:
            # Not left to the broker, which forgets them with the topic in its own time.
            topic = self.product.repartition_topic
            positions |= {(topic, number): 0 for number in range(self.own[0].anew.partitions)}
        return positions


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, in words and as a function; repeated, it does no harm."""

    sentence: str
    do: Callable[[], None]

    def __str__(self) -> str:
        return self.sentence


# What is there


def survey(product: Product, settings: Settings, admin: Admin, *, keep: bool) -> Situation:
    """Looks at what a product has; changes nothing.

    Offsets in a transaction are waited for: a killed worker's is decided before anything is done.

    Raises:
        NotProvisionedError: An input does not exist.
        PlatformError: The broker did not answer, or refused.
    """
    inputs = [port.topic for port in product.inputs]
    found = topics.describe(admin, [*inputs, *product.own_topics])
    missing = [f"input topic {name} does not exist" for name in inputs if name not in found]
    if missing:
        raise NotProvisionedError(product.name, missing)
    with Reader(settings, client_id=f"{product.group}.reset") as reader:
        bounds = reader.bounds(found)
    read = {place: ends for place, ends in bounds.items() if place[0] != product.changelog_topic}
    done = committed(settings, product.group, read)
    places = [_place(*place, *ends, done.get(place), keep) for place, ends in read.items()]
    stores = settings.state / product.name
    own = tuple(_own_topics(product, product.state, found, bounds, admin) if product.state else ())
    return Situation(
        product=product,
        keep=keep,
        members=tuple(members(admin, product.group)),
        inputs=tuple(place for place in places if place.topic in inputs),
        passing=tuple(place for place in places if place.topic not in inputs),
        own=own,
        stores=stores if stores.is_dir() else None,
    )


def _place(topic: str, partition: int, first: int, end: int, done: int | None, keep: bool) -> Place:
    begin = done
    if done is not None and not first <= done <= end:
        begin = first
    return Place(topic, partition, first, end, done, begin if keep else None)


def _own_topics(
    product: Product,
    state: State,
    found: dict[str, Topic],
    bounds: dict[tuple[str, int], tuple[int, int]],
    admin: Admin,
) -> Iterator[OwnTopic]:
    replicas = min(topics.MAX_REPLICAS, topics.cluster(admin).brokers)
    first_input = found[product.inputs[0].topic]
    width = (
        repartition_width(product, first_input) if state.repartitions else first_input.partitions
    )
    settings = {
        product.repartition_topic: topics.repartition_settings(product, replicas),
        product.changelog_topic: topics.changelog_settings(replicas),
    }
    for name in product.own_topics:
        role = "changelog" if name == product.changelog_topic else "repartition"
        records = sum(end - first for (topic, _), (first, end) in bounds.items() if topic == name)
        anew = CreateTopic(product.name, role, name, width, replicas, settings[name])
        yield OwnTopic(found.get(name), records, anew)


# What is done


def steps(found: Situation, settings: Settings, admin: Admin) -> list[Step]:
    """Returns what a reset does, in the order that this module's head gives the reasons of."""
    product = found.product
    there = [one for one in found.own if one.found is not None]
    planned = [_deletion(one, admin) for one in there]
    if not found.keep:
        planned.insert(
            # Before the changelog, which is the last of them.
            sum(one.anew.role == "repartition" for one in there),
            Step(
                f"delete the offsets of group {product.group}",
                lambda: resetting.forget_offsets(admin, product.group),
            ),
        )
    planned += [_creation(one.anew, admin) for one in found.own]
    if found.positions:
        planned.append(Step(_beginnings(found), lambda: _begin(found, settings, admin)))
    if found.stores is not None:
        folder = found.stores
        planned.append(Step(f"remove this machine's stores, {folder}", lambda: _remove(folder)))
    return planned


def carry_out(
    planned: list[Step], product: Product, admin: Admin, progress: Callable[[Step], None]
) -> None:
    """Does what was planned, and tells of each step that is done.

    Raises:
        MeshError: Workers are in the group.
        PlatformError: A step failed; run again, the reset finishes.
    """
    for step in planned:
        company = members(admin, product.group)
        if company:
            raise MeshError(refusal(product, company))
        step.do()
        progress(step)


def refusal(product: Product, company: list[str] | tuple[str, ...]) -> str:
    """Returns why nothing is done while workers run."""
    return (
        f"{product.name} has {counted(len(company), 'worker')} in group {product.group}: "
        f"{', '.join(company)}; stop all of its workers, then run the reset again (one that was "
        "killed is gone from the group after its session timeout, ten seconds by default)"
    )


def _deletion(one: OwnTopic, admin: Admin) -> Step:
    assert one.found is not None
    name = one.found.name
    size = f"{counted(one.found.partitions, 'partition')}, {one.records:,} offsets"
    return Step(
        f"delete {one.anew.role} topic {name}: {size}",
        lambda: resetting.delete_topic(admin, name),
    )


def _creation(anew: CreateTopic, admin: Admin) -> Step:
    def create() -> None:
        topics.create(
            admin,
            anew.topic,
            partitions=anew.partitions,
            replicas=anew.replicas,
            settings=anew.settings,
        )

    return Step(str(anew), create)


def _begin(found: Situation, settings: Settings, admin: Admin) -> None:
    product, positions = found.product, found.positions
    metas, notes = {}, {}
    if product.state is not None:
        repartitions = product.state.repartitions
        source = product.repartition_topic if repartitions else product.inputs[0].topic
        described = topics.describe(admin, {topic for topic, _ in positions})
        metas = {
            number: resetting.empty_at(offset, described[topic].id)
            for (topic, number), offset in positions.items()
            if topic == source
        }
        ids = {topic: one.id for topic, one in described.items() if topic != source}
        notes = _notes(settings, product.group, [at for at in positions if at[0] in ids], ids)
    resetting.begin_at(settings, admin, product, positions, metas, notes)


def _notes(
    settings: Settings, group: str, sources: Sequence[tuple[str, int]], ids: Mapping[str, str]
) -> dict[tuple[str, int], str]:
    """Returns what is noted with the offsets of sources that stay: how far they had come in time.

    Of one that was made anew, or whose offset somebody set by hand, nothing is known of that.
    """
    with Offsets(settings, group) as offsets:
        there = offsets.notes(sources)
    notes = {}
    for topic, number in sources:
        topic_id, highest = source_of_note(there.get((topic, number), "")) or ("", NEVER)
        highest = highest if topic_id == ids[topic] else NEVER
        notes[topic, number] = source_note(ids[topic], highest)
    return notes


def _beginnings(found: Situation) -> str:
    listed = ", ".join(
        f"{topic}[{number}] at {offset}" for (topic, number), offset in found.positions.items()
    )
    written = ", and write to the changelog," if found.own else ""
    return f"commit{written} where group {found.product.group} begins: {listed}"


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise StoreError(
            f"the stores in {folder} cannot be removed: {error.strerror}; expected a folder that "
            "this process may write; see to that, then run the reset again"
        ) from error


# What it means


def meaning(found: Situation) -> list[str]:
    """Returns what a reset brings about, one sentence each."""
    return list(_kept_meaning(found) if found.keep else _anew_meaning(found))


def _anew_meaning(found: Situation) -> Iterator[str]:
    product = found.product
    records = sum(place.end - place.first for place in found.inputs)
    state = "the state begins empty, and " if product.state is not None else ""
    yield (
        f"{state}all input is read again from its beginning, {records:,} offsets: facts are "
        f"published again on {product.output.topic}, and dead letters on "
        f"{product.dead_letter_topic}, after those that are there"
    )
    removed = sum(place.first for place in found.inputs)
    if removed:
        yield (
            f"its beginning is where retention has left it: {removed:,} records are gone"
            + (", and what they told is not remembered" if product.state is not None else "")
        )


def _kept_meaning(found: Situation) -> Iterator[str]:
    product = found.product
    yield f"{product.name} goes on at the present positions of group {product.group}"
    if product.state is not None:
        yield (
            "the state begins empty: what was remembered is forgotten, facts tell of events from "
            "here on only, and so do those of windows that are open now"
        )
    if (missed := sum(place.missed for place in found.inputs)) > 0:
        yield f"{counted(missed, 'record')} that retention has removed unread are skipped"
    for place in found.inputs:
        where = f"{place.topic}[{place.partition}]"
        if place.recreated:
            yield f"{where} was created anew: it is read from its beginning, offset {place.first}"
        elif place.committed is None and place.end > place.first:
            yield f"{where} has no position: it is read from its beginning"
    waiting = sum(place.end - (place.committed or place.first) for place in found.passing)
    if waiting > 0:
        yield (
            f"up to {counted(waiting, 'event')} on the way in {product.repartition_topic} are "
            "skipped: their input is taken, but they have not reached the state"
        )
