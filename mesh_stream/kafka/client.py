"""The settings of every Kafka client here, each with its reason, and what its errors mean.

librdkafka's defaults are made for the general case; what differs here was measured, or is part
of exactly-once. The operator's own settings come last; those that would break exactly-once were
refused when the settings were read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from mesh_stream.credentials import mask
from mesh_stream.errors import (
    AccessDeniedError,
    BrokerError,
    DeclarationError,
    Fault,
    PlatformError,
)
from mesh_stream.product.product import Product
from mesh_stream.settings import ENVIRONMENT, Settings

CLIENT: Mapping[str, str | int | bool] = {
    # A deleted topic, or new partitions, are noticed within half a minute (default: 5 minutes).
    "topic.metadata.refresh.interval.ms": 30_000,
    # After a broker's restart work goes on within a second (default: up to ten).
    "reconnect.backoff.max.ms": 1_000,
    # A dead connection of an idle product is found before the group coordinator misses us.
    "socket.keepalive.enable": True,
}
"""For every client."""

CONSUMER: Mapping[str, str | int | bool] = {
    # Offsets are committed in the producer's transaction, never beside it.
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # Records of aborted transactions do not exist.
    "isolation.level": "read_committed",
    # Positions are set explicitly at assignment. A position that the broker no longer has means
    # lost records: that is an error to stop on, not a reason to jump.
    "auto.offset.reset": "error",
    # Topics come from `apply`; a typing error must not create one.
    "allow.auto.create.topics": False,
    # A rebalance takes only the partitions that move.
    "partition.assignment.strategy": "cooperative-sticky",
    # A worker that died is replaced within ten seconds (default 45).
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 3_000,
    # A worker that hangs in one batch for a minute loses its partitions (default: five minutes).
    "max.poll.interval.ms": 60_000,
    # With the local queue full, the fetcher sleeps this long: the default of a second halves
    # the throughput of everything here.
    "fetch.queue.backoff.ms": 10,
    # Bounds on what is fetched ahead, per partition and softly. With the back-off gone, these ran
    # as fast as 200,000 records and 256 MB, in 120 MB less memory.
    "queued.min.messages": 5_000,
    "queued.max.messages.kbytes": 16_384,
    "fetch.max.bytes": 8_388_608,
    # At low rates a fetch that waits is latency.
    "fetch.wait.max.ms": 10,
}
"""For consumers of products."""

PRODUCER: Mapping[str, str | int | bool] = {
    "enable.idempotence": True,
    # An idempotent producer has one request in flight for each partition. Where it may have more
    # than it has partitions to write to, librdkafka (2.16) waits for the answers in a busy loop: a
    # whole processor, just when the broker is slow. With this few it sleeps, from four partitions
    # on; the records of one partition are in order with any.
    "max.in.flight.requests.per.connection": 3,
    # Records reach the broker within this; larger batches at low rates would be latency.
    "linger.ms": 5,
    "compression.type": "lz4",
    "batch.size": 1_000_000,
    # The largest record that any topic of ours admits; smaller limits are the topics' own.
    "message.max.bytes": 16_777_216,
    # Bounds on what waits to be sent: room for several transactions (default: 1 GB).
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 65_536,
    # A key lands where a Java producer would put it, so that products can be joined by key.
    "partitioner": "murmur2_random",
    # Topics are there before they are written to. One that was deleted is told by its name, before
    # the commit has waited in vain (default: 30 seconds).
    "topic.metadata.propagation.max.ms": 5_000,
    # In a transaction the commit tells of success; only failures need a call into Python.
    "delivery.report.only.error": True,
}
"""For producers of products."""

TRANSACTION: Mapping[str, str | int | bool] = {
    # An abandoned transaction hides every later record of its partitions this long. Many commit
    # intervals, and longer than a broker's failover; below the broker's maximum.
    "transaction.timeout.ms": 15_000,
    # Where all brokers were away at once, a client that begins again with the bootstrap servers
    # forgets them, but not which of them coordinates a group: it waits for that one for ever when
    # it adds offsets to a transaction (confluentinc/librdkafka#5511).
    "metadata.recovery.strategy": "none",
}
"""For producers with a transactional id, besides `PRODUCER`."""

STATUS: Mapping[str, str | int | bool] = {
    "acks": "all",
    # A status that was not written within two beats is no news any more, and is dropped. That is
    # an error to an idempotent producer, and so would be a principal that may not write there.
    "enable.idempotence": False,
    "message.timeout.ms": 4_000,
    # One after the other: an old status must not come after a newer one.
    "max.in.flight.requests.per.connection": 1,
    # What waits is never much.
    "queue.buffering.max.messages": 10,
    "queue.buffering.max.kbytes": 1_024,
    "linger.ms": 0,
    # A topic that is not there is asked for again soon, and never created.
    "allow.auto.create.topics": False,
    "topic.metadata.propagation.max.ms": 1_000,
    "topic.metadata.refresh.interval.ms": 5_000,
    # Whoever uses it says once what is wrong, and not at every attempt to connect.
    "log_level": 2,
}
"""For the producer that tells a worker's status."""

Admin = AdminClient
"""The administrative client, for rooms that hand it on without talking to Kafka themselves."""

Config = dict[str, Any]
"""What a client's constructor takes: settings by their dotted names, and a `logger`."""

# librdkafka writes to stderr by itself unless given a logger, past any masking.
_LOGGER = logging.getLogger("mesh_stream.kafka.librdkafka")

_ACCESS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "TOPIC",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "GROUP",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "TRANSACTIONAL_ID",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "CLUSTER",
}
_CREDENTIALS = frozenset(
    {
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
        KafkaError._AUTHENTICATION,  # noqa: SLF001 - an underscore marks librdkafka's own codes
        # A handshake fails where one side cannot prove who it is: an expired certificate, an
        # unknown authority, another name.
        KafkaError._SSL,  # noqa: SLF001
    }
)

ANSWER_SECONDS = 15.0
"""For one question to a broker that may be slow."""
REFUSED_SECONDS = 5.0
"""For a broker that is being restarted to listen again."""
_GLANCE_SECONDS = 0.05
_CRITICAL = 2  # of syslog's levels; an error is 3

_UNREACHABLE = frozenset(
    {
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._RESOLVE,  # noqa: SLF001
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
    }
)


def consumer_settings(settings: Settings, product: Product, *, client_id: str) -> Config:
    """Returns the settings of a product's consumer, a member of its group.

    Args:
        settings: Where the broker is.
        product: Whose inputs are read.
        client_id: Names this member in the broker's logs and quotas, as `mesh.<product>.<slot>`.
    """
    return _config(settings, CONSUMER, {"group.id": product.group, "client.id": client_id})


def reader_settings(settings: Settings, *, group: str, client_id: str) -> Config:
    """Returns the settings of a consumer that belongs to no product: `tail`, the monitor, tests.

    It reads what a product's consumer reads, read-committed, and commits nothing.

    Args:
        settings: Where the broker is.
        group: Its consumer group; a name is needed even where partitions are assigned by hand.
        client_id: Names it in the broker's logs.
    """
    return _config(settings, CONSUMER, {"group.id": group, "client.id": client_id})


def onlooker_settings(settings: Settings, *, group: str, client_id: str) -> Config:
    """Returns the settings of a reader that watches for as long as there is something to watch.

    As `reader_settings`, but a broker that is away is for whoever asks to tell: the client library
    would log it at every attempt of every client to connect.
    """
    quiet: Config = {"log_level": _CRITICAL, "error_cb": _unheard}
    return reader_settings(settings, group=group, client_id=client_id) | quiet


def _unheard(_error: KafkaError) -> None:
    """What a connection has to complain of; the next question that fails tells it."""


def producer_settings(
    settings: Settings, *, client_id: str, transactional_id: str | None = None
) -> Config:
    """Returns the settings of a producer.

    Args:
        settings: Where the broker is.
        client_id: Names it in the broker's logs and quotas.
        transactional_id: A product slot's stable id; None for a producer without transactions,
            such as a replay.
    """
    if transactional_id is None:
        return _config(settings, PRODUCER, {"client.id": client_id})
    own = {"client.id": client_id, "transactional.id": transactional_id}
    return _config(settings, {**PRODUCER, **TRANSACTION}, own)


def status_settings(settings: Settings, *, client_id: str) -> Config:
    """Returns the settings of the producer that tells a worker's status.

    Args:
        settings: Where the broker is.
        client_id: Names it in the broker's logs and quotas, as `mesh.<product>.<slot>.status`.
    """
    return _config(settings, STATUS, {"client.id": client_id})


def admin(
    settings: Settings,
    *,
    client_id: str = "mesh.admin",
    on_error: Callable[[KafkaError], object] | None = None,
) -> AdminClient:
    """Returns an administrative client. It connects when first asked something.

    Args:
        settings: Where the broker is.
        client_id: Names it in the broker's logs.
        on_error: Called with what librdkafka has to say about its connections, from `poll`.

    Raises:
        DeclarationError: librdkafka does not accept the settings.
    """
    config = _config(settings, {}, {"client.id": client_id})
    if on_error is not None:
        # Errors are told instead of logged, which would be at every attempt to connect.
        config |= {"error_cb": on_error, "log_level": _CRITICAL}
    try:
        return AdminClient(config)
    except KafkaException as cause:
        raise settings_error(settings, cause) from None


def reached(settings: Settings, *, client_id: str = "mesh.admin") -> AdminClient:
    """Returns an administrative client that the broker has answered, for people who wait for it.

    Where nobody listens, or nobody takes the credentials, that is told after `REFUSED_SECONDS`: a
    restart may be over by then. A broker that is slow has the time that any question has.

    Raises:
        DeclarationError: librdkafka does not accept the settings.
        PlatformError: The broker did not answer, or refused the credentials.
    """
    told: dict[int, KafkaError] = {}

    def hear(error: KafkaError) -> None:
        told[error.code()] = error

    doing = f"reach the broker at {settings.bootstrap_servers}"
    client = admin(settings, client_id=client_id, on_error=hear)
    answer = client.describe_cluster(request_timeout=ANSWER_SECONDS)
    patience = time.monotonic() + REFUSED_SECONDS
    while not answer.done():
        client.poll(_GLANCE_SECONDS)
        if time.monotonic() > patience and (refusal := _refusal(told)) is not None:
            raise kafka_error(refusal, doing)
    try:
        answer.result()
    except KafkaException as cause:
        raise kafka_error(_refusal(told) or cause, doing) from cause
    return client


def _refusal(told: Mapping[int, KafkaError]) -> KafkaError | None:
    """Returns why every broker that is named refuses; None where one may still answer."""
    if KafkaError._ALL_BROKERS_DOWN not in told:  # noqa: SLF001
        return None
    # It counts the brokers; what came with it says what each of them did.
    return max(
        told.values(),
        key=lambda error: (
            error.code() in _CREDENTIALS,
            error.code() != KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        ),
    )


def _config(
    settings: Settings, role: Mapping[str, str | int | bool], own: Mapping[str, str]
) -> Config:
    # An option of another role would only make librdkafka warn, in every client, every time.
    foreign = (CONSUMER.keys() | PRODUCER.keys() | TRANSACTION.keys()) - role.keys()
    options = {key: text for key, text in settings.kafka_options().items() if key not in foreign}
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        **CLIENT,
        **role,
        **own,
        **options,
        "logger": _LOGGER,
    }


def consumer(settings: Settings, config: Config) -> Consumer:
    """Makes a consumer.

    Raises:
        DeclarationError: librdkafka refuses a setting.
    """
    try:
        return Consumer(config)
    except KafkaException as error:
        raise settings_error(settings, error) from error


def settings_error(settings: Settings, error: KafkaException) -> DeclarationError:
    """Turns librdkafka's refusal of its settings into a fault of the file they came from."""
    path = settings.kafka_config or ENVIRONMENT
    # Masked: it quotes some of the values that it refuses.
    found = mask(_text(error), settings.masks())
    fault = Fault(path, 0, "", found, "settings that librdkafka accepts")
    return DeclarationError([fault])


def kafka_error(error: KafkaException | KafkaError, doing: str) -> PlatformError:
    """Turns an error of the Kafka client into ours.

    Args:
        error: What the client raised or reported.
        doing: What was being done and to what, to follow "cannot": `read topic raw.orders`.

    Returns:
        AccessDeniedError where credentials or ACLs are the cause, else BrokerError.
    """
    code = code_of(error)
    text = f"cannot {doing}: {_text(error)}"
    if (resource := _ACCESS.get(code)) is not None:
        return AccessDeniedError(
            f"{text} ({resource} authorization failed); grant this principal the operation"
        )
    if code in _CREDENTIALS:
        return AccessDeniedError(f"{text}; check the credentials in MESH_KAFKA_CONFIG")
    if code in _UNREACHABLE:
        text += "; is the broker running, and does MESH_BOOTSTRAP_SERVERS name it?"
    return BrokerError(text)


def code_of(error: KafkaException | KafkaError) -> int:
    """Returns the error's code; `UNKNOWN` for an exception that carries none."""
    inner = error.args[0] if isinstance(error, KafkaException) and error.args else error
    return inner.code() if isinstance(inner, KafkaError) else KafkaError.UNKNOWN


def _text(error: KafkaException | KafkaError) -> str:
    inner = error.args[0] if isinstance(error, KafkaException) and error.args else error
    return f"{inner.str()} [{inner.name()}]" if isinstance(inner, KafkaError) else str(inner)
