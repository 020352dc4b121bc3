"""Topics: what is on the broker, what a product wants there, and the few ways to change it.

Nothing here deletes: no topic, no partition, no record. Topics are looked up in a way that cannot
create them, even where the broker would create whatever is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from mesh_stream.errors import AccessDeniedError, BrokerError
from mesh_stream.kafka.client import Admin, code_of, kafka_error
from mesh_stream.product.product import Product

SECONDS = 15.0
"""For one question to the broker."""
MAX_REPLICAS = 3

DEAD_LETTER_RETENTION_MS = 1_209_600_000
"""Two weeks: time to come back from a holiday and redrive."""
TOMBSTONE_RETENTION_MS = 86_400_000
"""A day: what a deletion in a changelog is kept for."""
STATUS_PARTITIONS = 1
"""Of `mesh.status`: whoever looks reads all of it."""
REPARTITION_RETENTION_MS = 604_800_000
"""A week."""
HEADER_ROOM_BYTES = 65_536
"""What a dead letter's headers, or a fact's, may add to the record."""
DEFAULT_MESSAGE_BYTES = 1_048_588
"""What a topic admits unless told otherwise (Kafka's `max.message.bytes`)."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is on the broker.

    Attributes:
        name: Its name.
        partitions: How many it has.
        replicas: Of its first partition.
        settings: Every setting in effect; None where this principal may not read them.
        id: The broker's own for it: a topic that is made again under the same name has another.
    """

    name: str
    partitions: int
    replicas: int
    settings: Mapping[str, str] | None
    id: str = ""

    def setting(self, name: str, default: str) -> str:
        """One setting in effect; the default where it cannot be known."""
        return default if self.settings is None else self.settings.get(name, default)


def describe(admin: Admin, names: Iterable[str]) -> dict[str, Topic]:
    """Returns those of the topics that exist, by name.

    Raises:
        PlatformError: The broker did not answer, or refused.
    """
    asked = sorted(set(names))
    if not asked:
        return {}
    found: dict[str, tuple[int, int, str]] = {}
    described = admin.describe_topics(TopicCollection(asked), request_timeout=SECONDS)
    for name, future in described.items():
        try:
            description = future.result(SECONDS + 10)
        except KafkaException as cause:
            if code_of(cause) == KafkaError.UNKNOWN_TOPIC_OR_PART:
                continue
            raise kafka_error(cause, f"describe topic {name}") from cause
        partitions = description.partitions
        replicas = len(partitions[0].replicas) if partitions else 0
        found[name] = (len(partitions), replicas, str(description.topic_id))
    settings = _settings(admin, [ConfigResource(ResourceType.TOPIC, name) for name in found])
    return {
        name: Topic(name, partitions, replicas, settings[name], identity)
        for name, (partitions, replicas, identity) in found.items()
        if name in settings
    }


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the cluster makes of a topic that says nothing.

    Attributes:
        brokers: How many there are.
        defaults: Settings of a new topic; empty where this principal may not read them.
    """

    brokers: int
    defaults: Mapping[str, str]


def cluster(admin: Admin) -> Cluster:
    """Returns the cluster's size, and the settings that new topics get.

    Raises:
        PlatformError: The broker did not answer, or refused.
    """
    described = _answer(admin.describe_cluster(request_timeout=SECONDS), "describe the cluster")
    nodes = described.nodes
    resource = ConfigResource(ResourceType.BROKER, str(nodes[0].id))
    return Cluster(len(nodes), _defaults(_settings(admin, [resource])[resource.name] or {}))


def _defaults(broker: Mapping[str, str]) -> dict[str, str]:
    found = {"cleanup.policy": "log.cleanup.policy", "max.message.bytes": "message.max.bytes"}
    defaults = {ours: broker[theirs] for ours, theirs in found.items() if theirs in broker}
    # The most precise of three wins, as the broker has it.
    for name, milliseconds in (
        ("log.retention.ms", 1),
        ("log.retention.minutes", 60_000),
        ("log.retention.hours", 3_600_000),
    ):
        if name in broker:
            defaults["retention.ms"] = str(int(broker[name]) * milliseconds)
            break
    return defaults


def create(
    admin: Admin,
    name: str,
    *,
    partitions: int,
    replicas: int,
    settings: Mapping[str, str],
    dry_run: bool = False,
) -> None:
    """Creates a topic; one that exists already is left as it is.

    Args:
        admin: The client.
        name: The topic.
        partitions: How many.
        replicas: Of each partition.
        settings: By the broker's own names.
        dry_run: Only ask the broker whether it would.

    Raises:
        PlatformError: The broker did not answer, or refused.
    """
    topic = NewTopic(
        name,
        num_partitions=partitions,
        replication_factor=replicas,
        config=dict(settings),
    )
    created = admin.create_topics(
        [topic],
        operation_timeout=SECONDS,
        request_timeout=SECONDS,
        validate_only=dry_run,
    )
    try:
        created[name].result(SECONDS + 10)
    except KafkaException as cause:
        if code_of(cause) != KafkaError.TOPIC_ALREADY_EXISTS:
            raise kafka_error(cause, f"create topic {name}") from cause
    if not dry_run:
        _await(admin, name, "created", lambda _topic: True)


def alter(admin: Admin, name: str, settings: Mapping[str, str]) -> None:
    """Changes some settings of a topic, and no other.

    Raises:
        PlatformError: The broker did not answer, or refused.
    """
    entries = [
        ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
        for key, value in settings.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
    for future in admin.incremental_alter_configs([resource], request_timeout=SECONDS).values():
        _answer(future, f"alter topic {name}")
    _await(
        admin,
        name,
        "altered",
        lambda topic: all(
            same_setting(key, topic.setting(key, value), value) for key, value in settings.items()
        ),
    )


def add_partitions(admin: Admin, name: str, total: int) -> None:
    """Raises a topic's number of partitions to `total`.

    Raises:
        PlatformError: The broker did not answer, or refused.
    """
    grown = admin.create_partitions(
        [NewPartitions(name, total)], operation_timeout=SECONDS, request_timeout=SECONDS
    )
    _answer(grown[name], f"add partitions to topic {name}")
    _await(admin, name, "given partitions", lambda topic: topic.partitions >= total)


def output_settings(product: Product, replicas: int) -> dict[str, str]:
    """Returns the settings that a product's output topic has to have, on so many replicas."""
    settings = {
        "cleanup.policy": "delete",
        # The worker compresses; a broker that recompressed would only spend its own time.
        "compression.type": "producer",
        **_durable(replicas),
    }
    if product.limits.record_bytes + HEADER_ROOM_BYTES > DEFAULT_MESSAGE_BYTES:
        settings["max.message.bytes"] = str(product.limits.record_bytes + HEADER_ROOM_BYTES)
    return {**settings, **product.output.settings}


def dead_letter_settings(
    product: Product, inputs: Iterable[Topic], replicas: int
) -> dict[str, str]:
    """Returns the settings that a product's dead letter topic has to have, at the least.

    What is rejected must outlive its source, and always fit: the record as it came, and headers.

    Args:
        product: Whose dead letters.
        inputs: Its input topics, as far as they exist.
        replicas: On how many replicas.
    """
    retention, size = DEAD_LETTER_RETENTION_MS, product.limits.input_bytes
    for topic in inputs:
        kept = int(topic.setting("retention.ms", "0"))
        forever = kept < 0 or "compact" in topic.setting("cleanup.policy", "delete")
        retention = -1 if forever or retention < 0 else max(retention, kept)
        size = max(size, int(topic.setting("max.message.bytes", "0")))
    return {
        "cleanup.policy": "delete",
        "compression.type": "producer",
        "retention.ms": str(retention),
        "retention.bytes": "-1",
        "max.message.bytes": str(size + HEADER_ROOM_BYTES),
        **_durable(replicas),
    }


def changelog_settings(replicas: int) -> dict[str, str]:
    """Returns the settings of a product's changelog: the newest of every key, for ever.

    A tombstone stays for a day, so that a store that was away for less hears of it.
    """
    return {
        "cleanup.policy": "compact",
        "compression.type": "producer",
        "delete.retention.ms": str(TOMBSTONE_RETENTION_MS),
        # What was just written is not worth compacting: it is about to be written again.
        "min.compaction.lag.ms": "60000",
        "segment.bytes": str(64 * 1024 * 1024),
        "max.message.bytes": str(16 * 1024 * 1024),
        **_durable(replicas),
    }


def status_settings(replicas: int) -> dict[str, str]:
    """Returns the settings of `mesh.status`: the newest of every worker slot, for ever.

    Every slot writes again and again, and whoever looks reads from the beginning: segments are
    small and closed soon, since only a closed one is compacted.
    """
    return {
        "cleanup.policy": "compact",
        "compression.type": "producer",
        "delete.retention.ms": str(TOMBSTONE_RETENTION_MS),
        "min.compaction.lag.ms": "60000",
        "min.cleanable.dirty.ratio": "0.1",
        "segment.ms": "600000",
        # The least that a broker takes from Kafka 4.0 on (KIP-1030).
        "segment.bytes": str(1024 * 1024),
        **_durable(replicas),
    }


def repartition_settings(product: Product, replicas: int) -> dict[str, str]:
    """Returns the settings of a product's own topic for events on their way to be keyed.

    They are read within moments; a week is what a product may stand still before it has to be
    reset.
    """
    size = max(product.limits.input_bytes + HEADER_ROOM_BYTES, DEFAULT_MESSAGE_BYTES)
    return {
        "cleanup.policy": "delete",
        "compression.type": "producer",
        "retention.ms": str(REPARTITION_RETENTION_MS),
        "retention.bytes": "-1",
        "max.message.bytes": str(size),
        **_durable(replicas),
    }


AT_LEAST = frozenset({"retention.ms", "retention.bytes", "max.message.bytes"})
"""Settings of a topic that is not for consumers, which an operator may raise."""


def suffices(name: str, actual: str, wanted: str) -> bool:
    """Whether a setting is at least the wanted one; -1 stands for no bound."""
    if actual == wanted:
        return True
    try:
        have, want = int(actual), int(wanted)
    except ValueError:
        return False
    return name in AT_LEAST and (have < 0 or 0 <= want <= have)


def same_setting(name: str, actual: str | None, wanted: str) -> bool:
    """Whether two texts of a setting mean the same to the broker: `0.5` and `0.50`, say."""
    if actual is None or actual == wanted:
        return actual == wanted
    if name == "cleanup.policy":
        return cleanup_policies(actual) == cleanup_policies(wanted)
    try:
        return Decimal(actual) == Decimal(wanted)
    except InvalidOperation:
        return actual.strip().lower() == wanted.strip().lower()


def cleanup_policies(text: str) -> frozenset[str]:
    """Returns the cleanup policies in a setting's text: their order means nothing."""
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def _await(admin: Admin, name: str, done: str, seen: Callable[[Topic], bool]) -> None:
    # The controller has answered, but each broker learns of it in its own time; whoever looks right
    # afterwards, a worker's preflight or the next plan, must see what was done.
    deadline = time.monotonic() + SECONDS
    while (topic := describe(admin, [name]).get(name)) is None or not seen(topic):
        if time.monotonic() > deadline:
            raise BrokerError(f"topic {name} was {done}, but the broker does not show it")
        time.sleep(0.02)


def _durable(replicas: int) -> dict[str, str]:
    # Two copies of everything that was acknowledged, where there are three to lose one of.
    return {"min.insync.replicas": "2"} if replicas >= MAX_REPLICAS else {}


def _settings(admin: Admin, resources: list[ConfigResource]) -> dict[str, Mapping[str, str] | None]:
    settings: dict[str, Mapping[str, str] | None] = {}
    if not resources:
        return settings
    described = admin.describe_configs(resources, request_timeout=SECONDS)
    for resource, future in described.items():
        try:
            entries = future.result(SECONDS + 10)
        except KafkaException as cause:
            if code_of(cause) == KafkaError.UNKNOWN_TOPIC_OR_PART:
                # Another broker is asked here than before: this one does not know the topic yet.
                continue
            fault = kafka_error(cause, f"read the settings of {resource.name}")
            if not isinstance(fault, AccessDeniedError):
                raise fault from cause
            # A worker's principal need not be granted DescribeConfigs; what it cannot see, it
            # cannot check.
            settings[resource.name] = None
            continue
        settings[resource.name] = {
            name: entry.value for name, entry in entries.items() if entry.value is not None
        }
    return settings


def _answer(future: Future[T], doing: str) -> T:
    try:
        return future.result(SECONDS + 10)
    except KafkaException as cause:
        raise kafka_error(cause, doing) from cause
