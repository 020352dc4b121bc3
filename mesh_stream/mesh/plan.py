"""What broker and registry lack of what the mesh declares, found without changing anything.

A plan of what is already there is empty. Nothing is ever deleted, made smaller, or taken over: only
topics and subjects that a product declares are looked at, and a change that would lose or reorder
what consumers rely on is a problem for people to decide, not an action.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from mesh_stream.errors import AccessDeniedError
from mesh_stream.kafka import topics
from mesh_stream.kafka.client import Admin
from mesh_stream.kafka.registry import SchemaRegistry
from mesh_stream.kafka.topics import Cluster, Topic
from mesh_stream.mesh.actions import (
    NO_PRODUCT,
    Action,
    AddPartitions,
    AlterTopic,
    Change,
    CreateTopic,
    Plan,
    Problem,
)
from mesh_stream.mesh.contracts import plan_contract
from mesh_stream.product.product import Input, Mesh, Product, State
from mesh_stream.runtime.status import STATUS_TOPIC

log = logging.getLogger(__name__)

INPUT_PARTITIONS = 4
"""Of a raw topic that `apply --create-inputs` creates: room for four worker slots."""

_WAYS_OUT: Mapping[str, str] = {
    "output": "declare what is there, or a new major version, which has a topic of its own",
    "dead letter": "whoever owns the topic has to alter it",
    "status": "whoever owns the topic has to alter it",
}


def plan(
    mesh: Mesh,
    products: Iterable[Product],
    *,
    admin: Admin,
    registry: SchemaRegistry,
    create_inputs: bool = False,
) -> Plan:
    """Compares what products declare with what is there.

    Args:
        mesh: Every product: who reads whom.
        products: Those that are planned.
        admin: The broker's client.
        registry: The registry's client.
        create_inputs: Whether raw topics that do not exist are created, too. They belong to their
            source systems, so that is for development.

    Raises:
        PlatformError: Broker or registry did not answer, or refused the credentials.
    """
    waiting = list(products)
    found = topics.describe(admin, {name for one in waiting for name in _topics(one)})
    planner = _Planner(dict(found), topics.cluster(admin), create_inputs)
    # A product reads another's topic: that one is planned first, whatever the order given.
    while waiting:
        ready = [product for product in waiting if not planner.awaits(product, waiting)]
        for product in ready or waiting:
            planner.topics_of(product)
        waiting = [product for product in waiting if product not in (ready or waiting)]
    for product in products:
        plan_contract(product, mesh, registry, planner.actions, planner.problems)
    _plan_status(planner, admin)
    return Plan(tuple(planner.actions), tuple(planner.problems))


def _plan_status(planner: _Planner, admin: Admin) -> None:
    """Plans the topic that workers tell their status on; last, since no data depends on it.

    For the same reason it is nobody's problem that this principal may not look at it.
    """
    try:
        found = topics.describe(admin, [STATUS_TOPIC])
    except AccessDeniedError as error:
        log.warning("%s is not planned: %s", STATUS_TOPIC, error)
        return
    if STATUS_TOPIC in found and found[STATUS_TOPIC].settings is None:
        log.warning(
            "cannot check the settings of %s: this principal may not read them; grant it "
            "DescribeConfigs to have them checked",
            STATUS_TOPIC,
        )
        return
    planner.found |= found
    planner.status()


def _topics(product: Product) -> Iterator[str]:
    yield from (port.topic for port in product.inputs)
    yield product.output.topic
    yield product.dead_letter_topic
    yield from product.own_topics


def repartition_width(product: Product, first_input: Topic) -> int:
    """Returns how many partitions a product's repartition topic is made with."""
    return product.output.partitions or first_input.partitions


@dataclass(slots=True)
class _Planner:
    """Plans topics; `found` grows by those that are planned, so that others can build on them."""

    found: dict[str, Topic]
    cluster: Cluster
    create_inputs: bool
    actions: list[Action] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def replicas(self) -> int:
        """Of a new topic."""
        return min(topics.MAX_REPLICAS, self.cluster.brokers)

    def awaits(self, product: Product, waiting: Iterable[Product]) -> bool:
        """Whether an input of the product is yet to be planned."""
        outputs = {one.output.topic for one in waiting}
        return any(
            port.topic in outputs and port.topic not in self.found for port in product.inputs
        )

    def topics_of(self, product: Product) -> None:
        """Plans a product's topics."""
        inputs = [
            topic for port in product.inputs if (topic := self._input(product, port)) is not None
        ]
        width = inputs[0].partitions if inputs else None
        if len(inputs) == len(product.inputs) or product.output.partitions is not None:
            self._output(product, product.output.partitions or width or 1)
        self._dead_letters(product, inputs, width or product.output.partitions or 1)
        if product.state is not None and inputs and len(inputs) == len(product.inputs):
            self._own_topics(product, product.state, inputs[0])

    def _input(self, product: Product, port: Input) -> Topic | None:
        if (topic := self.found.get(port.topic)) is not None:
            return topic
        if port.product is not None:
            self._problem(
                product.name,
                f"input topic {port.topic} does not exist: it is the output of product "
                f"{port.product}; plan and apply that one as well",
            )
            return None
        if not self.create_inputs:
            self._problem(
                product.name,
                f"raw topic {port.topic} does not exist: it belongs to its source system; have it "
                "created there, or let `mesh-stream apply --create-inputs` do it, with "
                f"{INPUT_PARTITIONS} partitions",
            )
            return None
        return self._create(product.name, "input", port.topic, INPUT_PARTITIONS, {})

    def _output(self, product: Product, partitions: int) -> None:
        name = product.output.topic
        topic = self.found.get(name)
        replicas = topic.replicas if topic is not None else self.replicas
        wanted = topics.output_settings(product, replicas)
        in_sync = wanted.get("min.insync.replicas", "1")
        if in_sync.isdigit() and int(in_sync) > replicas:
            self._problem(
                product.name,
                f"output topic {name}: min.insync.replicas is {in_sync}, with {replicas} "
                "replicas no record could ever be written; lower it, or add brokers",
            )
        if topic is None:
            self._create(product.name, "output", name, partitions, wanted)
            return
        declared = product.output.partitions
        if declared is not None and declared > topic.partitions:
            self.actions.append(AddPartitions(product.name, name, topic.partitions, declared))
        elif declared is not None and declared < topic.partitions:
            self._problem(
                product.name,
                f"output topic {name} has {topic.partitions} partitions, declared are {declared}: "
                f"Kafka cannot remove any; declare {topic.partitions}, or a new major version, "
                "which has a topic of its own",
            )
        self._alter(product.name, "output", topic, wanted)

    def _dead_letters(self, product: Product, inputs: list[Topic], partitions: int) -> None:
        name = product.dead_letter_topic
        wanted = topics.dead_letter_settings(product, inputs, self._replicas_of(name))
        self._provide(product.name, "dead letter", name, partitions, wanted)

    def _own_topics(self, product: Product, state: State, first_input: Topic) -> None:
        """Plans what a product's state needs; never more partitions: keys would leave theirs."""
        source = first_input
        if state.repartitions:
            name = product.repartition_topic
            wanted = topics.repartition_settings(product, self._replicas_of(name))
            width = repartition_width(product, first_input)
            source = self._provide(product.name, "repartition", name, width, wanted)
        name = product.changelog_topic
        wanted = topics.changelog_settings(self._replicas_of(name))
        changelog = self._provide(product.name, "changelog", name, source.partitions, wanted)
        if changelog.partitions != source.partitions:
            self._problem(
                product.name,
                f"changelog topic {name} has {changelog.partitions} partitions, but {source.name}, "
                f"whose states it keeps, has {source.partitions}: keys are in other partitions "
                f"than their states; `mesh-stream reset {product.name}` begins anew",
            )

    def status(self) -> None:
        """Plans the topic of the workers' status, which is no product's."""
        wanted = topics.status_settings(self._replicas_of(STATUS_TOPIC))
        self._provide(NO_PRODUCT, "status", STATUS_TOPIC, topics.STATUS_PARTITIONS, wanted)

    def _replicas_of(self, name: str) -> int:
        topic = self.found.get(name)
        return topic.replicas if topic is not None else self.replicas

    def _provide(
        self, product: str, role: str, name: str, partitions: int, settings: Mapping[str, str]
    ) -> Topic:
        topic = self.found.get(name)
        if topic is None:
            return self._create(product, role, name, partitions, settings)
        self._alter(product, role, topic, settings)
        return topic

    def _create(
        self, product: str, role: str, name: str, partitions: int, settings: Mapping[str, str]
    ) -> Topic:
        action = CreateTopic(product, role, name, partitions, self.replicas, settings)
        self.actions.append(action)
        in_effect = {**self.cluster.defaults, **settings}
        self.found[name] = Topic(name, partitions, self.replicas, in_effect)
        return self.found[name]

    def _alter(self, product: str, role: str, topic: Topic, wanted: Mapping[str, str]) -> None:
        if topic.settings is None:
            self._problem(
                product,
                f"the settings of {role} topic {topic.name} cannot be compared: this principal "
                "may not read them; grant it DescribeConfigs",
            )
            return
        changes = []
        for name, value in sorted(wanted.items()):
            actual = topic.settings.get(name)
            raised = role != "output" and topics.suffices(name, actual or "", value)
            if raised or topics.same_setting(name, actual, value):
                continue
            if name == "cleanup.policy":
                way_out = _WAYS_OUT.get(role, f"`mesh-stream reset {product}` makes it anew")
                self._problem(
                    product,
                    f"{role} topic {topic.name} has cleanup.policy {actual}, wanted is {value}: "
                    "changing it under its consumers loses records that they rely on, or keeps "
                    f"what should go; {way_out}",
                )
                continue
            changes.append(Change(name, actual, value))
        if changes:
            self.actions.append(AlterTopic(product, role, topic.name, tuple(changes)))

    def _problem(self, product: str, sentence: str) -> None:
        self.problems.append(Problem(product, sentence))
