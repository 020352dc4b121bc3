"""Consumer groups seen from outside: how far a group has come, and who is in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Self, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from mesh_stream.kafka.client import Admin, code_of, consumer, kafka_error, reader_settings
from mesh_stream.kafka.topics import SECONDS
from mesh_stream.settings import Settings

Partition = tuple[str, int]
"""(topic, partition)."""

PATIENCE_SECONDS = 20.0
"""Longer than a worker's transaction may stay undecided after the worker was killed."""
ASK_SECONDS = 2.0
_AGAIN_SECONDS = 0.05

# Offsets in an open transaction, and a broker that has just started: ask again.
_PASSING = (
    KafkaError.UNSTABLE_OFFSET_COMMIT,
    # How the client library reports the first.
    KafkaError._TIMED_OUT,  # noqa: SLF001 - an underscore marks librdkafka's own codes
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)

_T = TypeVar("_T")


class Offsets:
    """How far one group has come; `close` it, or use it as a context.

    A consumer that never joins the group is asked, not the administrative client: librdkafka 2.16
    ends the process (SIGSEGV in `rd_kafka_cgrp_op`) when the coordinator answers that one with an
    error.

    Args:
        settings: Where the broker is.
        group: The group.
    """

    def __init__(self, settings: Settings, group: str) -> None:
        self._group = group
        config = reader_settings(settings, group=group, client_id=f"{group}.asker")
        self._asker = consumer(settings, config)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._asker.close()

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The next offset that the group will read; a partition it never committed is left out.

        Offsets that are in a transaction are waited for: whether they count is not decided.

        Raises:
            PlatformError: The broker did not answer, or refused; or a transaction stayed undecided.
        """
        return {partition: tp.offset for partition, tp in self._ask(partitions).items()}

    def notes(self, partitions: Iterable[Partition]) -> dict[Partition, str]:
        """What is noted with the offsets, as their metadata; otherwise as `committed`."""
        return {partition: tp.metadata or "" for partition, tp in self._ask(partitions).items()}

    def _ask(self, partitions: Iterable[Partition]) -> dict[Partition, TopicPartition]:
        asked = [TopicPartition(*partition) for partition in partitions]
        if not asked:
            return {}

        def ask() -> list[TopicPartition]:
            found = self._asker.committed(asked, timeout=ASK_SECONDS)
            for tp in found:
                if tp.error is not None:
                    raise KafkaException(tp.error)
            return found

        found: list[TopicPartition] = patiently(ask, [], f"read the offsets of {self._group}")
        return {(tp.topic, tp.partition): tp for tp in found if tp.offset >= 0}


def committed(
    settings: Settings, group: str, partitions: Iterable[Partition]
) -> dict[Partition, int]:
    """As `Offsets.committed`, asked once."""
    with Offsets(settings, group) as offsets:
        return offsets.committed(partitions)


def members(admin: Admin, group: str) -> list[str]:
    """Who is in a group now: each member's client id and host, as `mesh.orders.0 on /127.0.0.1`.

    Raises:
        PlatformError: The broker did not answer, or refused.
    """

    def ask() -> list[str]:
        described = admin.describe_consumer_groups([group], request_timeout=SECONDS)
        found = described[group].result(SECONDS + 1).members
        return sorted(f"{member.client_id} on {member.host}" for member in found)

    return patiently(ask, [], f"describe group {group}")


def patiently(ask: Callable[[], _T], without_group: _T, doing: str) -> _T:
    """Ask, again where that may help; what a group that does not exist amounts to is given.

    Raises:
        PlatformError: The broker did not answer, or refused.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except KafkaException as cause:
            code = code_of(cause)
            if code == KafkaError.GROUP_ID_NOT_FOUND:
                return without_group
            if code not in _PASSING or time.monotonic() > deadline:
                raise kafka_error(cause, doing) from cause
        time.sleep(_AGAIN_SECONDS)
