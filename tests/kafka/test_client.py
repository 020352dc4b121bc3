from __future__ import annotations

import logging
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from mesh_stream.errors import AccessDeniedError, BrokerError, DeclarationError
from mesh_stream.kafka import topics
from mesh_stream.kafka.client import (
    CLIENT,
    CONSUMER,
    PRODUCER,
    TRANSACTION,
    Config,
    admin,
    consumer_settings,
    kafka_error,
    producer_settings,
    reached,
    reader_settings,
    settings_error,
)
from mesh_stream.local.stack import Stack, kill
from mesh_stream.settings import REFUSED, Settings
from tests.deadline import eventually
from tests.kafka.certificate import certificate
from tests.kafka.declaring import Declared, settings_of, unique
from tests.kafka.faulty_registry import Exchange, faulty_registry

PRODUCT = Declared("orders-completed").product
CANARY = "canary-7f3a9c"
NOWHERE = Settings(
    bootstrap_servers="127.0.0.1:1", registry_url="http://127.0.0.1:1", products=Path()
)


def consuming(settings: Settings) -> Config:
    return consumer_settings(settings, PRODUCT, client_id="c")


def reading(settings: Settings) -> Config:
    return reader_settings(settings, group="g", client_id="c")


def producing(settings: Settings) -> Config:
    return producer_settings(settings, client_id="c")


def transacting(settings: Settings) -> Config:
    slot = PRODUCT.transactional_id(0)
    return producer_settings(settings, client_id="c", transactional_id=slot)


def with_options(**options: str) -> Settings:
    return NOWHERE.model_copy(
        update={"kafka": {name.replace("_", "."): value for name, value in options.items()}}
    )


def test_a_products_consumer_belongs_to_its_group_and_commits_nothing_by_itself() -> None:
    config = consuming(NOWHERE)

    assert config["group.id"] == "mesh.orders-completed"
    assert config["client.id"] == "c"
    assert config["bootstrap.servers"] == "127.0.0.1:1"
    assert config["enable.auto.commit"] is False
    assert config["enable.auto.offset.store"] is False
    assert config["isolation.level"] == "read_committed"
    assert config["auto.offset.reset"] == "error"
    assert config["allow.auto.create.topics"] is False


def test_only_a_slot_has_a_transactional_id_and_its_timeout() -> None:
    assert transacting(NOWHERE)["transactional.id"] == "mesh.orders-completed.0"
    assert transacting(NOWHERE)["transaction.timeout.ms"] == 15_000
    assert not {"transactional.id", "transaction.timeout.ms"} & producing(NOWHERE).keys()
    assert producing(NOWHERE)["enable.idempotence"] is True


@pytest.mark.parametrize(
    ("client", "make"),
    [
        (Consumer, consuming),
        (Consumer, reading),
        (Producer, producing),
        (Producer, transacting),
    ],
)
def test_librdkafka_knows_every_setting_and_warns_of_none(
    client: Callable[[Config], Any],
    make: Callable[[Settings], Config],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(0)

    made = client(make(NOWHERE))

    def warned_of_the_connection() -> bool:
        made.poll(0.05)
        return "Connection refused" in caplog.text

    # It is our logger that hears it: by itself, librdkafka writes to stderr, past any masking.
    eventually(warned_of_the_connection, within=10, what="librdkafka says what it meets")
    assert "CONFWARN" not in caplog.text


def test_the_operators_settings_come_last() -> None:
    settings = with_options(session_timeout_ms="6000", linger_ms="0", client_rack="a")

    assert consuming(settings)["session.timeout.ms"] == "6000"
    assert consuming(settings)["client.rack"] == "a"
    assert producing(settings)["linger.ms"] == "0"
    assert producing(settings)["client.rack"] == "a"


def test_a_setting_of_one_role_does_not_reach_another() -> None:
    settings = with_options(session_timeout_ms="6000", linger_ms="0", transaction_timeout_ms="9000")

    assert "linger.ms" not in consuming(settings)
    assert "session.timeout.ms" not in producing(settings)
    assert "transaction.timeout.ms" not in producing(settings)
    assert "transaction.timeout.ms" not in consuming(settings)
    assert transacting(settings)["transaction.timeout.ms"] == "9000"


def test_what_exactly_once_hangs_on_cannot_be_set() -> None:
    ours: Mapping[str, Any] = {**CONSUMER, **PRODUCER, **TRANSACTION, **CLIENT}
    tunable = {name for name in ours if name.endswith((".ms", ".bytes", ".kbytes", ".messages"))}

    assert ours.keys() - tunable - REFUSED.keys() == {
        "compression.type",
        "batch.size",
        "socket.keepalive.enable",
        "partition.assignment.strategy",
    }


def test_an_unknown_setting_is_a_fault_of_its_file_and_shows_no_value(tmp_path: Path) -> None:
    file = tmp_path / "kafka.yaml"
    file.write_text("no.such.setting: 1\nsasl.password: ${env:SECRET}\nsasl.mechanism: PLAIN\n")
    settings = Settings.load(
        {
            "MESH_BOOTSTRAP_SERVERS": "127.0.0.1:1",
            "MESH_REGISTRY_URL": "http://127.0.0.1:1",
            "MESH_KAFKA_CONFIG": str(file),
            "SECRET": CANARY,
        }
    )

    with pytest.raises(DeclarationError, match=r"no\.such\.setting") as caught:
        admin(settings)

    assert str(file) in str(caught.value)
    assert CANARY not in repr(caught.getrepr(chain=True))


def test_an_invalid_value_is_a_fault_that_does_not_show_it() -> None:
    settings = with_options(session_timeout_ms=CANARY)
    with pytest.raises(KafkaException) as caught:
        Consumer(consuming(settings))

    fault = str(settings_error(settings, caught.value))

    assert "session.timeout.ms" in fault
    assert CANARY not in fault


@pytest.mark.parametrize(
    ("code", "named"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "TOPIC authorization"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "GROUP authorization"),
        (KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "TRANSACTIONAL_ID authorization"),
        (KafkaError.CLUSTER_AUTHORIZATION_FAILED, "CLUSTER authorization"),
        (KafkaError.SASL_AUTHENTICATION_FAILED, "MESH_KAFKA_CONFIG"),
        (KafkaError._AUTHENTICATION, "MESH_KAFKA_CONFIG"),
        (KafkaError._SSL, "MESH_KAFKA_CONFIG"),
    ],
)
def test_what_was_refused_is_access_denied_and_says_to_what(code: int, named: str) -> None:
    for error in (KafkaError(code), KafkaException(KafkaError(code))):
        denied = kafka_error(error, "read topic raw.orders")

        assert isinstance(denied, AccessDeniedError)
        assert "cannot read topic raw.orders" in str(denied)
        assert named in str(denied)


def test_what_else_fails_is_the_broker() -> None:
    failed = kafka_error(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), "read topic raw.orders")
    unreachable = kafka_error(KafkaException(KafkaError(KafkaError._TRANSPORT)), "read topic t")

    assert type(failed) is type(unreachable) is BrokerError
    assert "UNKNOWN_TOPIC_OR_PART" in str(failed)
    assert "MESH_BOOTSTRAP_SERVERS" in str(unreachable)
    assert "MESH_BOOTSTRAP_SERVERS" not in str(failed)


def test_an_exception_without_a_code_is_still_told() -> None:
    assert "strange" in str(kafka_error(KafkaException("strange"), "read"))


@pytest.mark.kafka
def test_the_settings_work_with_a_real_broker(stack: Stack) -> None:
    settings = settings_of(stack)
    slot = unique("mesh")
    producer = Producer(producer_settings(settings, client_id=slot, transactional_id=slot))
    producer.init_transactions(10)
    consumer = Consumer(consumer_settings(settings, Declared(unique()).product, client_id=slot))
    try:
        assert consumer.list_topics(timeout=10).brokers
    finally:
        consumer.close()


@pytest.mark.kafka
def test_a_broker_that_answers_is_reached(stack: Stack) -> None:
    assert reached(settings_of(stack)).list_topics(timeout=10).brokers


def test_a_broker_that_nobody_runs_is_told_of_soon_and_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mesh_stream.kafka.client.REFUSED_SECONDS", 0.5)
    caplog.set_level(logging.DEBUG)
    began = time.monotonic()
    with pytest.raises(BrokerError) as caught:
        reached(NOWHERE)
    assert 0.5 < time.monotonic() - began < 5
    text = str(caught.value)
    assert text.startswith("cannot reach the broker at 127.0.0.1:1: ")
    assert "Connection refused" in text
    assert "is the broker running" in text
    assert not caplog.records


def test_a_broker_that_is_slow_has_the_time_of_any_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mesh_stream.kafka.client.REFUSED_SECONDS", 0.1)
    monkeypatch.setattr("mesh_stream.kafka.client.ANSWER_SECONDS", 1.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        servers = f"127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(BrokerError, match="Timed out"):
            reached(NOWHERE.model_copy(update={"bootstrap_servers": servers}))
    assert time.monotonic() - began > 1.4


def test_a_broker_that_cannot_be_trusted_is_told_of_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh_stream.kafka.client.REFUSED_SECONDS", 0.5)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate(tmp_path))
    with faulty_registry(Exchange.hang_up, tls=tls) as secured:
        servers = secured.url.removeprefix("https://")
        settings = with_options(security_protocol="SSL")
        with pytest.raises(AccessDeniedError, match="check the credentials"):
            reached(settings.model_copy(update={"bootstrap_servers": servers}))


@pytest.mark.kafka
def test_a_producer_sleeps_while_it_waits_for_a_slow_broker(stack: Stack) -> None:
    settings = settings_of(stack)
    topic = unique("slow")
    topics.create(admin(settings), topic, partitions=4, replicas=1, settings={})
    producer = Producer(transacting(settings))
    producer.init_transactions(30)
    producer.begin_transaction()
    for number in range(100):
        producer.produce(topic, b"warm", str(number))
    producer.flush(30)

    kill(stack, "broker-1", signal.SIGSTOP)
    try:
        # Requests go out for every partition, and more records wait behind each.
        for number in range(1_000):
            producer.produce(topic, b"waits", str(number))
            producer.poll(0.001 if number % 10 == 0 else 0)
        before = time.process_time()
        threading.Event().wait(1)
        busy = time.process_time() - before
    finally:
        kill(stack, "broker-1", signal.SIGCONT)
    producer.abort_transaction(30)

    # A busy loop takes all of the second.
    assert busy < 0.5
