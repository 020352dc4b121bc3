"""Dead letters that cannot be written, and records that are odd: nothing skipped, nothing lost."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from confluent_kafka import Producer

from mesh_stream.kafka import topics
from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness import broker
from tests.kafka.harness.reader import Read, Reader
from tests.kafka.harness.scene import Scene, provision, scene

pytestmark = pytest.mark.kafka

Header = tuple[str, bytes | None]
IMPATIENT = {"patience": 3.0, "backoff": 0.2}
UNREACHABLE, NOT_PROVISIONED = 3, 2


def test_dead_letters_that_the_broker_refuses_stop_the_product_and_lose_nothing(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed) as torture:
        letters = torture.product.dead_letter_topic
        slot = torture.slot(0, pace=IMPATIENT)
        slot.start()
        _send(torture, "good", "rule", "good")
        eventually(lambda: torture.lag() == 0, within=60, what="the first records committed")
        before = topics.describe(torture.admin, [letters])[letters]
        topics.alter(torture.admin, letters, {"max.message.bytes": "100"})

        _send(torture, "good", "malformed", "good")
        assert slot.wait(60) == UNREACHABLE
        last = slot.said().splitlines()[-1]
        assert letters in last
        assert "MSG_SIZE_TOO_LARGE" in last
        assert slot.said().count("reading again") > 2, "it did not try again"
        assert 1 <= torture.lag() <= 3
        assert torture.hidden() == 0

        slot.start()
        eventually(lambda: "reading again" in slot.said(), within=60, what="another failure")
        slot.signal(signal.SIGTERM)
        assert slot.wait(15) == UNREACHABLE, "it said that everything was committed"

        largest = before.setting("max.message.bytes", "")
        topics.alter(torture.admin, letters, {"max.message.bytes": largest})
        slot.start()
        torture.settle(within=60)
        torture.verify()


def test_a_dead_letter_topic_that_is_deleted_stops_the_product_and_loses_nothing(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed) as torture:
        letters = torture.product.dead_letter_topic
        slot = torture.slot(0, pace=IMPATIENT, kafka={"topic.metadata.propagation.max.ms": 1_000})
        slot.start()
        _send(torture, "good", "good")
        eventually(lambda: torture.lag() == 0, within=60, what="the first records committed")
        torture.reader.stop()
        broker.delete_topic(torture.admin, letters)

        _send(torture, "good", "malformed", "good")
        assert slot.wait(90) == UNREACHABLE
        assert letters in slot.said().splitlines()[-1]
        slot.start()
        assert slot.wait(30) == NOT_PROVISIONED
        assert f"dead letter topic {letters} does not exist" in slot.said()
        assert "mesh-stream apply" in slot.said()
        assert 1 <= torture.lag() <= 3

        provision(stack, torture.products, torture.product, torture.admin)
        torture.reader = Reader(stack.bootstrap_servers, torture.published)
        slot.start()
        torture.settle(within=60)
        torture.verify()


def test_odd_records_keep_their_bytes(stack: Stack, tmp_path: Path, seed: int) -> None:
    many: list[Header] = [(f"h{number % 900}", str(number).encode()) for number in range(1_000)]
    with scene(stack, tmp_path, seed, partitions=1, output={"partitions": 1}) as torture:
        good = torture.feed.goods.next("good").value
        odd: list[tuple[bytes | None, bytes | None, list[Header]]] = [
            (None, b"k", []),  # a tombstone
            (None, None, []),
            (b"", b"k", []),
            (good, None, []),
            (good, b"", []),
            (good, b"\xff\xfe", []),
            (b"{", None, [("h", None)]),
            (b"{", b"\xff\xfe\x00", [("h", b"1"), ("h", b"\xff"), ("h", b"1"), ("", b"")]),
            (b"\xff", b"k", many),
        ]
        producer = Producer({"bootstrap.servers": stack.bootstrap_servers})
        for value, key, headers in odd:
            producer.produce(torture.raw, value, key, partition=0, headers=list(headers))
        assert producer.flush(30) == 0
        slot = torture.slot(0)
        slot.start()
        eventually(lambda: torture.lag() == 0, within=60, what="all of them committed")
        torture.settle(within=30)

        facts, letters = _split(torture)
        assert [fact.key for fact in facts] == [None, b"", b"\xff\xfe"]
        assert [odd[2], *odd[6:]] == [
            (letter.value, letter.key, _own_headers(letter)) for letter in letters
        ]
        assert slot.metric("mesh_records_filtered_total", reason="tombstone") == 2
        assert slot.metric("mesh_conservation_imbalance_records") == 0
        slot.signal(signal.SIGTERM)
        assert slot.wait(15) == 0


def _send(torture: Scene, *kinds: str) -> None:
    torture.feed.send(*(torture.feed.goods.next(kind) for kind in kinds))


def _split(torture: Scene) -> tuple[list[Read], list[Read]]:
    facts, letters = torture.published
    records = torture.reader.records
    return (
        [read for read in records if read.topic == facts],
        [read for read in records if read.topic == letters],
    )


def _own_headers(letter: Read) -> list[Header]:
    ours = ("__dlq.errors.", "mesh.dlq.")
    return [(name, value) for name, value in letter.headers if not name.startswith(ours)]
