"""What a product is, seen from outside, while things happen to it on the real broker.

All of it happens to one product, one thing after another, under the eyes of one monitor: whatever
it was before, it is what it should be now.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mesh_stream.freshness.sli import FRESH, IDLE, OWN, UNKNOWN, UPSTREAM, Blame
from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness import broker
from tests.kafka.watching import FRESHNESS, PARTITIONS, Watch, Watching, monitoring, product_of

pytestmark = pytest.mark.kafka

SLACK = 2.5
"""Seconds from a moment until a look has shown it, on a busy machine."""


@dataclass
class Play:
    """The product, and the monitor that watches it."""

    watch: Watch
    watching: Watching


@pytest.fixture(scope="module")
def play(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """A product that has had no record yet, and no worker."""
    folder = tmp_path_factory.mktemp("monitor")
    with product_of(stack, folder) as watch, monitoring(watch) as watching:
        yield Play(watch, watching)


@pytest.fixture
def watching(play: Play) -> Watching:
    """The monitor, once the product has a worker that has read all there is."""
    watch, watching = play.watch, play.watching
    if not any(slot.alive() for slot in watch.slots):
        watch.worker()
    watch.send()
    eventually(
        lambda: watching.reading.seen.unread == 0 and watching.reading.verdict == FRESH,
        within=30,
        what="all is read, and all is well",
    )
    return watching


@pytest.fixture
def watch(play: Play) -> Watch:
    return play.watch


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


def test_a_product_without_a_record_is_idle_and_fresh_with_its_first_fact(play: Play) -> None:
    watch, watching = play.watch, play.watching
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
    assert counted.bad.total() - counted.bad[Blame.UNSEEN] == 0


def test_while_all_is_well_it_is_fresh(watch: Watch, watching: Watching) -> None:
    with feeding(watch, watch.send):
        watching.until(FRESH)
        watching.stays(FRESH, seconds=2 * FRESHNESS)


def test_input_that_comes_late_is_upstreams(watch: Watch, watching: Watching) -> None:
    with feeding(watch, lambda: watch.send(late=30)):
        watching.until(UPSTREAM)
        # What it was that waited, a worker tells with its next status.
        eventually(lambda: watching.reading.seen.evidence.last_asked, within=10, what="a status")
        watching.until(UPSTREAM)
        watching.stays(UPSTREAM, seconds=FRESHNESS)


def test_records_that_are_filtered_ask_for_nothing(watch: Watch, watching: Watching) -> None:
    with feeding(watch, lambda: watch.send(skip=True)):
        watching.until(FRESH)
        watching.until(IDLE)
        watching.stays(IDLE, seconds=2 * FRESHNESS)


def test_records_that_are_all_rejected_make_it_stale(watch: Watch, watching: Watching) -> None:
    with feeding(watch, lambda: watch.send(id=None)):
        watching.until(FRESH)
        reading = watching.until(OWN, within=2 * FRESHNESS + SLACK)
        assert reading.seen.evidence.waiting is None or reading.waits is not None
        assert reading.seen.dead_letters > 0


def test_a_fact_from_the_future_is_not_fresh_for_ever(watch: Watch, watching: Watching) -> None:
    watch.send(ahead=3_600)
    watching.until(FRESH)
    reading = watching.until(IDLE, within=FRESHNESS + SLACK)
    newest = reading.seen.evidence.newest_fact
    assert newest is not None
    assert newest < reading.at


def test_a_killed_worker_without_input_is_not_missed(watch: Watch, watching: Watching) -> None:
    watch.slots[-1].kill()
    watching.until(IDLE, within=FRESHNESS + SLACK)
    watching.stays(IDLE, seconds=FRESHNESS)


def test_a_killed_worker_is_missed_as_soon_as_its_promise_is_broken(
    watch: Watch, watching: Watching
) -> None:
    minutes = watching.monitor.minutes[watching.name]
    with feeding(watch, watch.send):
        watching.until(FRESH)
        before = minutes.bad[Blame.OWN]
        watch.slots[-1].kill()
        killed = time.monotonic()
        reading = watching.until(OWN, within=FRESHNESS + SLACK)
        assert time.monotonic() - killed > FRESHNESS - 1
        assert reading.seen.evidence.waiting is not None
        assert reading.seen.unread > 0
        eventually(
            lambda: minutes.bad[Blame.OWN] > before, within=5, what="a bad minute that is its own"
        )


def test_one_partition_that_stands_still_is_enough(watch: Watch, watching: Watching) -> None:
    watch.worker(1)
    assert len([slot for slot in watch.slots if slot.alive()]) == PARTITIONS
    with feeding(watch, lambda: watch.send(1)):
        watching.until(FRESH)
        watch.send(0, stuck=True)
        reading = watching.until(OWN)
        newest = reading.seen.evidence.newest_fact
        assert newest is not None
        assert reading.at - newest < FRESHNESS, "the other partition's facts are fresh"


def test_topics_that_do_not_exist_are_unknown_and_seen_once_they_do(
    stack: Stack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with product_of(stack, tmp_path) as watch:
        topic = f"{watch.product.output.topic}-new"
        output = replace(watch.product.output, topic=topic)
        watch.product = replace(watch.product, output=output)
        with monitoring(watch) as watching:
            reading: Any = eventually(
                lambda: watching.reading if watching.reading.seen.problem else None,
                within=10,
                what="that it cannot be seen",
            )
            assert reading.verdict == UNKNOWN
            assert reading.seen.problem == f"topic {topic} does not exist"
            watching.stays(UNKNOWN, seconds=2)
            told = [r for r in caplog.records if "does not exist" in r.getMessage()]
            assert len(told) == 1
            assert watching.monitor.minutes[watching.name].good == 0
            broker.create_topic(broker.client(watch.stack.bootstrap_servers), topic, 1)
            watching.until(IDLE)
