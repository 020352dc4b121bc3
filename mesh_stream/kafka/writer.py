"""Puts records on a raw topic, as a source system would: idempotent, every delivery accounted for.

Not for facts: those are written in transactions, by the worker alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from mesh_stream.errors import PlatformError
from mesh_stream.kafka.client import kafka_error, producer_settings, settings_error
from mesh_stream.settings import Settings

# A broker that restarts is back by then; one that is not gets a message, not a silent wait.
DELIVERY_SECONDS = 30.0
_FULL_QUEUE_SECONDS = 0.1
# Below this, waiting costs more than it spaces out.
_SHORTEST_WAIT_SECONDS = 0.001

_HINTS = {
    KafkaError.INVALID_TIMESTAMP: "the topic refuses timestamps that far from now; "
    "see its message.timestamp.before.max.ms and message.timestamp.after.max.ms",
    KafkaError.INVALID_RECORD: "a compacted topic refuses records without a key, and "
    "a topic may refuse timestamps that far from now",
    KafkaError.MSG_SIZE_TOO_LARGE: "it is larger than the topic's max.message.bytes",
    KafkaError._MSG_TIMED_OUT: "is the broker running?",  # noqa: SLF001 - librdkafka's own code
}
# An underscore marks librdkafka's own codes.
_NO_ANSWER = (
    KafkaError._MSG_TIMED_OUT,  # noqa: SLF001
    KafkaError._TIMED_OUT,  # noqa: SLF001
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError._PURGE_INFLIGHT,  # noqa: SLF001
)


class RawRecord(NamedTuple):
    """One record for a raw topic.

    Attributes:
        key: The record key; equal keys stay in order. None: any partition.
        value: The bytes; None is a tombstone.
        timestamp: Milliseconds since the epoch; None: the time of sending.
        topic: Where it goes, if not with the others.
    """

    key: bytes | None
    value: bytes | None
    timestamp: int | None = None
    topic: str | None = None


@dataclass(slots=True)
class Sent:
    """What became of the records of one `send`: told while it runs, whole when it ends.

    Attributes:
        given: Records handed to the client.
        delivered: Records the broker has acknowledged.
        unsure: Records of which no answer came: they may be on the topic or not.
        failure: The first delivery that failed, if one did.
    """

    given: int = 0
    delivered: int = 0
    unsure: int = 0
    failure: KafkaError | None = None


def send(
    settings: Settings,
    topic: str,
    records: Iterable[RawRecord],
    sent: Sent,
    *,
    rate: float | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Send records, in order, and wait until the broker has them all.

    The rate is an open loop: a record is due at its time whatever became of those before; after a
    hold-up those that are overdue go at once.

    Args:
        settings: Where the broker is.
        topic: An existing topic.
        records: What to send. Where reading them raises, what was read before is still delivered.
        sent: Keeps the count; right also where this raises.
        rate: Records a second; None: as fast as they come.
        stop: Set from elsewhere, no further record is sent.

    Raises:
        PlatformError: A record was not delivered; none was sent after that was noticed.
    """
    stop = stop or threading.Event()
    producer = _producer(settings, sent)
    began = time.monotonic()
    try:
        for record in records:
            if rate is not None:
                wait = began + sent.given / rate - time.monotonic()
                if wait > _SHORTEST_WAIT_SECONDS:
                    _serve_until(time.monotonic() + wait, producer, stop)
            if stop.is_set() or sent.failure is not None:
                break
            _produce(producer, topic, record, sent)
            producer.poll(0)
    finally:
        if sent.failure is not None:
            producer.purge()
        left = producer.flush(DELIVERY_SECONDS + 5)
    sent.unsure += left
    if sent.failure is None and left:
        sent.failure = KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001 - a public code
    if sent.failure is not None:
        raise _failed(sent.failure, topic)


def _producer(settings: Settings, sent: Sent) -> Producer:
    def delivered(error: KafkaError | None, _message: Any) -> None:
        if error is None:
            sent.delivered += 1
            return
        sent.failure = sent.failure or error
        sent.unsure += error.code() in _NO_ANSWER

    config = producer_settings(settings, client_id="mesh.raw-writer") | {
        # Every record is counted, not the failures alone.
        "delivery.report.only.error": False,
        "message.timeout.ms": int(DELIVERY_SECONDS * 1000),
        "on_delivery": delivered,
    }
    try:
        return Producer(config)
    except KafkaException as error:
        raise settings_error(settings, error) from error


def _serve_until(due: float, producer: Producer, stop: threading.Event) -> None:
    """Wait, letting the client report deliveries meanwhile."""
    while (left := due - time.monotonic()) > 0 and not stop.is_set():
        producer.poll(min(left, 0.1))


def _produce(producer: Producer, topic: str, record: RawRecord, sent: Sent) -> None:
    """Hand one record to the client; waits where its queue is full, as the deliveries time out."""
    arguments: dict[str, Any] = {"key": record.key, "value": record.value}
    if record.timestamp is not None:
        arguments["timestamp"] = record.timestamp
    while True:
        try:
            producer.produce(record.topic or topic, **arguments)
        except BufferError:
            producer.poll(_FULL_QUEUE_SECONDS)
        except KafkaException as error:
            sent.failure = error.args[0]
            return
        else:
            sent.given += 1
            return


def _failed(error: KafkaError, topic: str) -> PlatformError:
    failure = kafka_error(error, f"send to {topic}")
    hint = _HINTS.get(error.code())
    return type(failure)(f"{failure}; {hint}") if hint else failure
