"""What a product is, seen from outside, while things happen to it on the real broker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mesh_stream.freshness.sli import FRESH, IDLE, OWN, UNKNOWN, UPSTREAM
from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.watching import FRESHNESS, PARTITIONS, Watch, monitoring, product_of

pytestmark = pytest.mark.kafka

SLACK = 2.5
"""Seconds from a moment until a look has shown it, on a busy machine."""


@pytest.fixture
def watch(stack: Stack, tmp_path: Path) -> Iterator[Watch]:
    with product_of(stack, tmp_path) as watch:
        yield watch


@contextmanager
def feeding(watch: Watch, send: Callable[[], object]) -> Iterator[None]:
    """Send again and again, several times a second."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(0.2):
            send()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(20)


def test_a_product_without_a_record_is_idle_and_fresh_with_its_first_fact(watch: Watch) -> None:
    with monitoring(watch) as watching:
        watching.until(IDLE)
        assert watching.reading.age is None
        watch.worker()
        watch.send()
        reading = watching.until(FRESH)
        assert reading.age is not None
        assert reading.age < FRESHNESS
        found = eventually(lambda: watching.reading.seen.statuses, within=10, what="a status")
        assert found[0].metrics
        # Nothing came since: it is as good as it can be, for as long as it takes.
        watching.until(IDLE)
        watching.stays(IDLE, seconds=2 * FRESHNESS)
        counted = watching.monitor.minutes[watching.name]
        assert counted.good > 0
        assert counted.bad.total() - counted.bad[UNKNOWN.blame] == 0  # type: ignore[index]


def test_while_all_is_well_it_is_fresh(watch: Watch) -> None:
    watch.worker()
    with monitoring(watch) as watching, feeding(watch, watch.send):
        watching.until(FRESH)
        watching.stays(FRESH, seconds=2 * FRESHNESS)


def test_a_killed_worker_is_missed_as_soon_as_its_promise_is_broken(watch: Watch) -> None:
    worker = watch.worker()
    with monitoring(watch) as watching, feeding(watch, watch.send):
        watching.until(FRESH)
        worker.kill()
        killed = time.monotonic()
        reading = watching.until(OWN, within=FRESHNESS + SLACK)
        assert time.monotonic() - killed > FRESHNESS - 1
        assert reading.seen.evidence.waiting is not None
        assert reading.seen.unread > 0
        eventually(
            lambda: watching.monitor.minutes[watching.name].bad[reading.verdict.blame] > 0,  # type: ignore[index]
            within=5,
            what="a bad minute that is its own",
        )


def test_a_killed_worker_without_input_is_not_missed(watch: Watch) -> None:
    worker = watch.worker()
    watch.send()
    with monitoring(watch) as watching:
        watching.until(FRESH, IDLE)
        eventually(lambda: not watching.reading.seen.unread, within=20, what="all is read")
        worker.kill()
        watching.until(IDLE, within=FRESHNESS + SLACK)
        watching.stays(IDLE, seconds=FRESHNESS)


def test_input_that_comes_late_is_upstreams(watch: Watch) -> None:
    watch.worker()
    with monitoring(watch) as watching, feeding(watch, lambda: watch.send(late=30)):
        watching.until(UPSTREAM)
        # What it was that waited, a worker tells with its next status.
        eventually(lambda: watching.reading.seen.evidence.last_asked, within=10, what="a status")
        watching.until(UPSTREAM)
        watching.stays(UPSTREAM, seconds=FRESHNESS)


def test_records_that_are_filtered_ask_for_nothing(watch: Watch) -> None:
    watch.worker()
    watch.send()
    with monitoring(watch) as watching, feeding(watch, lambda: watch.send(skip=True)):
        watching.until(FRESH)
        watching.until(IDLE)
        watching.stays(IDLE, seconds=2 * FRESHNESS)


def test_records_that_are_all_rejected_make_it_stale(watch: Watch) -> None:
    watch.worker()
    watch.send()
    with monitoring(watch) as watching, feeding(watch, lambda: watch.send(id=None)):
        watching.until(FRESH)
        reading = watching.until(OWN, within=2 * FRESHNESS + SLACK)
        assert reading.seen.evidence.waiting is None or reading.waits is not None
        assert reading.seen.dead_letters > 0


def test_one_partition_that_stands_still_is_enough(watch: Watch) -> None:
    workers = [watch.worker(0), watch.worker(1)]
    assert len(workers) == PARTITIONS
    with monitoring(watch) as watching, feeding(watch, lambda: watch.send(1)):
        watching.until(FRESH)
        watch.send(0, stuck=True)
        reading = watching.until(OWN)
        newest = reading.seen.evidence.newest_fact
        assert newest is not None
        assert reading.at - newest < FRESHNESS, "the other partition's facts are fresh"


def test_a_fact_from_the_future_is_not_fresh_for_ever(watch: Watch) -> None:
    watch.worker()
    watch.send(ahead=3_600)
    with monitoring(watch) as watching:
        watching.until(FRESH)
        reading = watching.until(IDLE, within=FRESHNESS + SLACK)
        newest = reading.seen.evidence.newest_fact
        assert newest is not None
        assert newest < reading.at


def test_topics_that_do_not_exist_are_unknown_and_seen_once_they_do(
    watch: Watch, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from tests.kafka.harness import broker

    output = replace(watch.product.output, topic=f"{watch.product.output.topic}-new")
    watch.product = replace(watch.product, output=output)
    with monitoring(watch) as watching:
        reading: Any = eventually(
            lambda: watching.reading if watching.reading.seen.problem else None,
            within=10,
            what="that it cannot be seen",
        )
        assert reading.verdict == UNKNOWN
        assert reading.seen.problem == f"topic {output.topic} does not exist"
        watching.stays(UNKNOWN, seconds=2)
        told = [r for r in caplog.records if "does not exist" in r.getMessage()]
        assert len(told) == 1
        assert watching.monitor.minutes[watching.name].good == 0
        broker.create_topic(broker.client(watch.stack.bootstrap_servers), output.topic, 1)
        watching.until(IDLE)
