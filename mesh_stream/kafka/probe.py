"""Reads a few records of many partitions: the newest, or the one at an offset; and lets go again.

Read-committed and outside any group. What no reader sees (commit markers, aborted records) takes
offsets too, so a probe steps back from the end, further each time, until it sees a record.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from mesh_stream.kafka.client import consumer, kafka_error, onlooker_settings
from mesh_stream.kafka.groups import Partition
from mesh_stream.settings import Settings

STEPS = (4, 32, 256, 2_048)
"""How far before an end a record is looked for. Behind more markers than that, nothing has been
said for a long time: the newest record is one that was seen before, or none."""
_AT_ONCE = 200
"""Partitions that are read at a time: each may bring a batch of a megabyte."""
_BATCH = 1_000
_GLANCE_SECONDS = 0.1

Span = tuple[int, int]
"""(first offset, the one after the last)."""


class Probe:
    """One consumer for all of it; `close` it, or use it as a context.

    Args:
        settings: Where the broker is.
        client_id: Names it in the broker's logs.
    """

    def __init__(self, settings: Settings, *, client_id: str) -> None:
        config = onlooker_settings(settings, group=client_id, client_id=client_id) | {
            "enable.partition.eof": True,
            # A record that retention has removed meanwhile: the first that there is now.
            "auto.offset.reset": "earliest",
            # No more is fetched than is asked for: one batch, however small the records.
            "queued.min.messages": 1,
            "max.partition.fetch.bytes": 65_536,
        }
        self._consumer = consumer(settings, config)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._consumer.close()

    def first(
        self, spans: Mapping[Partition, Span], *, deadline: float
    ) -> dict[Partition, Message | None]:
        """The first record in each span; None where it holds none.

        Args:
            spans: Where to look; each ends at or before its partition's last stable offset.
            deadline: When to give up (monotonic seconds); what was not read by then is left out.

        Raises:
            PlatformError: The client cannot go on, or access is denied.
        """
        found = self._read(spans, deadline, only_first=True)
        nothing = {partition: None for partition, (begin, end) in spans.items() if begin >= end}
        return nothing | {at: next(iter(records), None) for at, records in found.items()}

    def newest(
        self, spans: Mapping[Partition, Span], *, deadline: float
    ) -> dict[Partition, list[Message]]:
        """The last few records in each span, oldest first; empty where none was found.

        Otherwise as `first`.
        """
        found: dict[Partition, list[Message]] = {
            partition: [] for partition, (begin, end) in spans.items() if begin >= end
        }
        left = {partition: span for partition, span in spans.items() if partition not in found}
        for step in STEPS:
            tails = {
                partition: (max(begin, end - step), end) for partition, (begin, end) in left.items()
            }
            for partition, records in self._read(tails, deadline, only_first=False).items():
                begin, (tail, _) = left[partition][0], tails[partition]
                if records or tail == begin or step == STEPS[-1]:
                    found[partition] = records
                    del left[partition]
                else:
                    # What was looked through holds nothing.
                    left[partition] = (begin, tail)
            if not left:
                break
        return found

    def _read(
        self, spans: Mapping[Partition, Span], deadline: float, *, only_first: bool
    ) -> dict[Partition, list[Message]]:
        found: dict[Partition, list[Message]] = {}
        places = [partition for partition, (begin, end) in spans.items() if begin < end]
        for at in range(0, len(places), _AT_ONCE):
            if time.monotonic() > deadline:
                break
            some = {partition: spans[partition] for partition in places[at : at + _AT_ONCE]}
            found |= self._read_some(some, deadline, only_first=only_first)
        return found

    def _read_some(
        self, spans: Mapping[Partition, Span], deadline: float, *, only_first: bool
    ) -> dict[Partition, list[Message]]:
        records: dict[Partition, list[Message]] = {partition: [] for partition in spans}
        done: set[Partition] = set()
        try:
            self._consumer.assign([TopicPartition(*at, begin) for at, (begin, _) in spans.items()])
            while len(done) < len(spans) and (left := deadline - time.monotonic()) > 0:
                first = self._consumer.poll(min(left, _GLANCE_SECONDS))
                if first is None:
                    continue
                # What came with it; to ask for a number would be to wait for so many.
                batch = [first, *self._consumer.consume(_BATCH, 0)]
                done |= _sort(batch, spans, records, done, only_first=only_first)
        except KafkaException as error:
            raise kafka_error(error, "read records") from error
        finally:
            self._consumer.unassign()
        return {partition: records[partition] for partition in done}


def _sort(
    batch: Iterable[Message],
    spans: Mapping[Partition, Span],
    records: dict[Partition, list[Message]],
    done: set[Partition],
    *,
    only_first: bool,
) -> set[Partition]:
    """Put what came where it belongs; returns the partitions that are through."""
    through: set[Partition] = set()
    for message in batch:
        topic, number, offset = message.topic(), message.partition(), message.offset()
        if topic is None or number is None or offset is None:
            # An event of the client's own, such as a broker that went away.
            continue
        partition = (topic, number)
        if partition not in spans or partition in done or partition in through:
            continue
        begin, end = spans[partition]
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - a public code
                if offset >= end:
                    through.add(partition)
            elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED or error.fatal():
                raise kafka_error(error, f"read {topic}[{number}]")
        elif begin <= offset < end:
            records[partition].append(message)
            if only_first or offset == end - 1:
                through.add(partition)
        elif offset >= end:
            through.add(partition)
    return through
