"""Workers that must not start: what they need is missing, otherwise than declared, or lost."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness import broker
from tests.kafka.harness.goods import write_product
from tests.kafka.harness.scene import Scene, scene

pytestmark = pytest.mark.kafka

NOT_PROVISIONED = DECLARATION = 2


def _without_output(torture: Scene) -> str:
    broker.delete_topic(torture.admin, torture.product.output.topic)
    return f"output topic {torture.product.output.topic} does not exist"


def _another_width(torture: Scene) -> str:
    topic = torture.product.output.topic
    broker.delete_topic(torture.admin, topic)
    broker.create_topic(torture.admin, topic, 5)
    return f"output topic {topic} has 5 partitions; declared are 3"


def _another_policy(torture: Scene) -> str:
    topic = torture.product.output.topic
    broker.delete_topic(torture.admin, topic)
    broker.create_topic(torture.admin, topic, 3, cleanup_policy="compact")
    return f"output topic {topic} has cleanup.policy compact; declared is delete"


def _without_dead_letters(torture: Scene) -> str:
    broker.delete_topic(torture.admin, torture.product.dead_letter_topic)
    return f"dead letter topic {torture.product.dead_letter_topic} does not exist"


def _without_input(torture: Scene) -> str:
    broker.delete_topic(torture.admin, torture.raw)
    return f"input topic {torture.raw} does not exist"


@pytest.mark.parametrize(
    "spoil",
    [_without_output, _another_width, _another_policy, _without_dead_letters, _without_input],
)
def test_a_worker_refuses_what_is_not_as_declared_before_it_reads(
    stack: Stack, tmp_path: Path, seed: int, spoil: Callable[[Scene], str]
) -> None:
    with scene(stack, tmp_path, seed) as torture:
        torture.feed.send(torture.feed.goods.next("good"))
        torture.reader.stop()
        problem = spoil(torture)
        topics = _topics(torture)
        slot = torture.slot(0)
        slot.start()

        assert slot.wait(60) == NOT_PROVISIONED
        assert problem in slot.said()
        assert "mesh-stream apply" in slot.said()
        assert _topics(torture) == topics, "a topic was created"
        if torture.raw in topics:
            assert torture.lag() == 1


@pytest.mark.parametrize("command", [["run"], ["worker", "torn", "--slot", "0"]])
def test_wrong_declarations_and_settings_are_told_all_at_once_and_nothing_is_connected_to(
    tmp_path: Path, command: list[str]
) -> None:
    declaration = write_product(tmp_path / "products", "torn", sla={"availability": "99%"})
    text = declaration.joinpath("data_product.yaml").read_text()
    declaration.joinpath("data_product.yaml").write_text(f"{text}  ownr: somebody\n")
    kafka = tmp_path / "kafka.yaml"
    kafka.write_text(
        "sasl.password: ${env:CANARY}\nenable.idempotence: false\nssl.key.password: ${env:NOPE}\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as broker_that_waits:
        host, port = broker_that_waits.getsockname()
        done = subprocess.run(
            [sys.executable, "-m", "mesh_stream.cli", *command],
            env={
                **os.environ,
                "MESH_PRODUCTS": str(tmp_path / "products"),
                "MESH_BOOTSTRAP_SERVERS": f"{host}:{port}",
                "MESH_REGISTRY_URL": f"http://{host}:{port}",
                "MESH_REGISTRY_AUTH": "canary-without-colon",
                "MESH_KAFKA_CONFIG": str(kafka),
                "CANARY": "canary-password",
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        broker_that_waits.settimeout(0)
        with pytest.raises(BlockingIOError):
            broker_that_waits.accept()

    assert done.returncode == DECLARATION
    for told in (
        "data_product.sla.freshness", "data_product.ownr", "MESH_REGISTRY_AUTH",
        "enable.idempotence", "ssl.key.password",
    ):  # fmt: skip
        assert told in done.stderr
    assert "canary" not in done.stderr + done.stdout


def test_a_position_that_retention_passed_is_refused_with_the_gap(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed, partitions=1) as torture:
        slot = torture.slot(0)
        slot.start()
        _send(torture, 20)
        eventually(lambda: torture.lag() == 0, within=60, what="the first records committed")
        slot.kill()
        _send(torture, 30)
        _forget_until(torture, 45)
        slot.start()

        assert slot.wait(60) == NOT_PROVISIONED
        assert f"{torture.raw}[0] holds offsets 45 to 50, but the group's next is 20" in slot.said()
        assert "retention removed 25 records before they were read" in slot.said()
        assert torture.lag() == 30


def _send(torture: Scene, count: int) -> None:
    torture.feed.send(*(torture.feed.goods.next("good") for _ in range(count)))


def _forget_until(torture: Scene, offset: int) -> None:
    asked = [TopicPartition(torture.raw, 0, offset)]
    for future in torture.admin.delete_records(asked).values():
        future.result(20)


def _topics(torture: Scene) -> set[str]:
    return {
        name
        for name in torture.admin.list_topics(timeout=10).topics
        if torture.product.name in name
    }
