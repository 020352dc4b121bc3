"""What a worker checks before it reads a record: that broker and registry have what it needs.

A worker never creates anything. What is missing is refused by name, all of it at once, with the
command that provides it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import fastavro

from mesh_stream.errors import NotProvisionedError, SchemaRefusedError
from mesh_stream.kafka import topics
from mesh_stream.kafka.client import admin
from mesh_stream.kafka.registry import Registered, SchemaRegistry
from mesh_stream.kafka.topics import Topic
from mesh_stream.product.product import Product, State
from mesh_stream.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Provisioned:
    """What was found for a product that may start.

    Attributes:
        schema_id: The registry's id of the contract: what every fact is framed with.
        version: The registry's version of it under the product's subject.
        partitions: Topic that is read, or that states are kept in -> its partitions.
        ids: The same topic -> the broker's id of it.
    """

    schema_id: int
    version: int
    partitions: Mapping[str, int]
    ids: Mapping[str, str] = field(default_factory=dict)


def preflight(settings: Settings, product: Product, registry: SchemaRegistry) -> Provisioned:
    """Finds what a product's worker needs.

    Raises:
        NotProvisionedError: Something is missing or otherwise than declared; all of it is named.
        PlatformError: Broker or registry did not answer, or refused the credentials.
    """
    inputs = [port.topic for port in product.inputs]
    own = list(product.own_topics)
    names = [*inputs, *own, product.output.topic, product.dead_letter_topic]
    found = topics.describe(admin(settings, client_id=product.group), names)
    problems = list(topic_problems(product, found))
    registered: Registered | None = None
    try:
        registered = registry.lookup(product.subject, product.contract.canonical)
        problems += schema_problems(product, registered, registry)
    except SchemaRefusedError as cause:
        problems.append(str(cause))
    if problems or registered is None:
        raise NotProvisionedError(product.name, problems)
    return Provisioned(
        registered.schema_id,
        registered.version,
        {name: found[name].partitions for name in (*inputs, *own)},
        {name: found[name].id for name in (*inputs, *own)},
    )


def topic_problems(product: Product, found: Mapping[str, Topic]) -> Iterator[str]:
    """Yields what the product's topics lack, one sentence each.

    Args:
        product: The product.
        found: Those of its topics that exist, by name.
    """
    for port in product.inputs:
        if port.topic not in found:
            source = f"product {port.product}" if port.product else "its source system"
            yield f"input topic {port.topic} does not exist; it belongs to {source}"
    output = found.get(product.output.topic)
    if output is None:
        yield f"output topic {product.output.topic} does not exist"
    else:
        wanted = product.output.partitions
        if wanted is not None and output.partitions != wanted:
            yield (
                f"output topic {output.name} has {output.partitions} partitions; "
                f"declared are {wanted}"
            )
        policy = product.output.settings.get("cleanup.policy", "delete")
        yield from _policy_problems("output", output, policy)
    letters = found.get(product.dead_letter_topic)
    if letters is None:
        yield f"dead letter topic {product.dead_letter_topic} does not exist"
    else:
        yield from _policy_problems("dead letter", letters, "delete")
    if product.state is not None:
        yield from _state_problems(product, product.state, found)


def _state_problems(product: Product, state: State, found: Mapping[str, Topic]) -> Iterator[str]:
    for name in product.own_topics:
        if name not in found:
            yield f"topic {name}, which the product's state needs, does not exist"
    changelog = found.get(product.changelog_topic)
    if changelog is None:
        return
    yield from _policy_problems("changelog", changelog, "compact")
    source = product.repartition_topic if state.repartitions else product.inputs[0].topic
    if source in found and found[source].partitions != changelog.partitions:
        # Keys are in other partitions than their states.
        yield (
            f"{source} has {found[source].partitions} partitions, but its states are kept in "
            f"{changelog.partitions} ({changelog.name}): keys are in other partitions now; "
            f"`mesh-stream reset {product.name}` begins anew"
        )


def schema_problems(
    product: Product, registered: Registered | None, registry: SchemaRegistry
) -> Iterator[str]:
    """Yields what is wrong with the registered contract, one sentence each.

    Raises:
        PlatformError: The registry did not answer, or refused the credentials.
    """
    if registered is None:
        latest = registry.latest(product.subject)
        there = f"its newest version, {latest.version}, is another" if latest else "it has none"
        yield f"subject {product.subject} does not have the declared schema: {there}"
        return
    schema = registry.writer_schema(registered.schema_id)
    if schema is None or essence(schema) != essence(product.contract.schema):
        # A registry that takes two schemas for one would make every reader read facts wrongly.
        yield (
            f"subject {product.subject}: the registry gives the declared schema the id "
            f"{registered.schema_id}, which names another schema"
        )


def essence(schema: Any) -> Any:
    """Returns what of an Avro schema decides how bytes are read, names in full, as plain data."""
    return _essence(fastavro.parse_schema(schema))


_DECIDING = ("type", "name", "symbols", "size", "logicalType", "precision", "scale")


def _essence(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_essence(branch) for branch in schema]
    if not isinstance(schema, Mapping):
        return schema
    kept = {key: schema[key] for key in _DECIDING if key in schema}
    if not isinstance(schema["type"], str):
        kept["type"] = _essence(schema["type"])
    for part in ("items", "values"):
        if part in schema:
            kept[part] = _essence(schema[part])
    if "fields" in schema:
        kept["fields"] = [(one["name"], _essence(one["type"])) for one in schema["fields"]]
    return kept["type"] if kept.keys() == {"type"} else kept


def _policy_problems(role: str, topic: Topic, wanted: str) -> Iterator[str]:
    if topic.settings is None:
        log.warning(
            "cannot check cleanup.policy of %s topic %s: this principal may not read its settings; "
            "grant it DescribeConfigs to have it checked",
            role,
            topic.name,
        )
        return
    actual = topic.setting("cleanup.policy", "delete")
    if not topics.same_setting("cleanup.policy", actual, wanted):
        yield f"{role} topic {topic.name} has cleanup.policy {actual}; declared is {wanted}"
