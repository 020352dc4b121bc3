"""Dead letters that cannot be written: nothing is skipped, nothing is lost."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from mesh_stream.kafka import topics
from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness import broker
from tests.kafka.harness.reader import Reader
from tests.kafka.harness.scene import Scene, provision, scene

pytestmark = pytest.mark.kafka

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


def _send(torture: Scene, *kinds: str) -> None:
    torture.feed.send(*(torture.feed.goods.next(kind) for kind in kinds))
