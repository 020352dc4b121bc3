"""Minutes: where they end, and what each counts as."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.freshness.lookout import LONGEST_LOOK_SECONDS
from mesh_stream.freshness.monitor import Monitor, next_end
from mesh_stream.freshness.reading import Seen
from mesh_stream.freshness.sli import Blame, Evidence, State, Waiting
from mesh_stream.product.loader import load_product
from mesh_stream.settings import Settings
from mesh_stream.testing.memory import MemorySchemas
from tests.deadline import eventually

ROOT = Path(__file__).parent.parent.parent
NAME = "orders-completed"
END = 1_800_000_000.0


def monitor_of(minute: float) -> Monitor:
    settings = Settings.load(
        {"MESH_BOOTSTRAP_SERVERS": "127.0.0.1:1", "MESH_REGISTRY_URL": "http://127.0.0.1:1/x"}
    )
    product = load_product(ROOT / "products/orders/orders-completed")
    return Monitor([product], settings, MemorySchemas(), minute=minute)


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    monitor = monitor_of(60)
    yield monitor
    monitor.close()


def see(monitor: Monitor, **moments: float | Waiting) -> None:
    evidence = replace(Evidence(), **{"seen_at": END, **moments})  # type: ignore[arg-type]  # by their names
    monitor.lookout.seen = {NAME: Seen(evidence)}


def test_a_minute_is_what_the_product_is_at_its_end(monitor: Monitor) -> None:
    minutes = monitor.minutes[NAME]
    see(monitor, newest_fact=END - 900)
    monitor.count(END)
    assert (minutes.good, minutes.total) == (1, 1)
    see(monitor, newest_fact=END - 901, last_asked=END, newest_input=END)
    monitor.count(END + 60)
    see(monitor, waiting=Waiting(END, END - 2_000))
    monitor.count(END + 30 + 60)
    assert minutes.bad == {Blame.OWN: 1, Blame.UPSTREAM: 0, Blame.UNSEEN: 1}
    assert minutes.total == 3


def test_a_minute_is_counted_once(monitor: Monitor) -> None:
    minutes = monitor.minutes[NAME]
    see(monitor, waiting=Waiting(END - 1_000, END - 1_000))
    stale = monitor.readings(END - 30)
    assert stale[NAME].verdict.state is State.STALE
    monitor.count_stale(stale)
    monitor.count_stale(stale)
    see(monitor, newest_fact=END)
    monitor.count(END)
    assert (minutes.good, minutes.bad[Blame.OWN], minutes.total) == (0, 1, 1)
    monitor.count(END + 60)
    assert (minutes.good, minutes.total) == (1, 2)


def test_a_monitor_that_has_seen_nothing_says_unknown(monitor: Monitor) -> None:
    assert monitor.readings()[NAME].verdict.state is State.UNKNOWN
    monitor.count(END)
    assert monitor.minutes[NAME].bad[Blame.UNSEEN] == 1


@pytest.mark.parametrize(("minute", "seconds"), [(1, LONGEST_LOOK_SECONDS), (60, 60)])
def test_what_the_longest_look_found_is_believed_when_it_is_over_and_not_for_ever(
    minute: float, seconds: float
) -> None:
    monitor = monitor_of(minute)
    minutes = monitor.minutes[NAME]
    for longer, unseen in ((0.0, 0), (0.1, 1)):
        see(monitor, newest_fact=END, seen_at=END - seconds)
        monitor.count(END + longer * minute)
        assert (minutes.good, minutes.bad[Blame.UNSEEN]) == (1, unseen)
    monitor.close()


def test_without_a_broker_a_look_ends_and_says_why(monitor: Monitor) -> None:
    began = time.monotonic()
    reading = monitor.look()[NAME]
    assert time.monotonic() - began < 8
    assert "is the broker running" in reading.seen.problem
    assert monitor.lookout.failures["topics"] == 1
    assert reading.verdict.state is State.UNKNOWN


@given(st.floats(0, 4e9), st.sampled_from([0.5, 1.0, 7.0, 60.0]))
def test_minutes_end_where_the_clocks_do(now: float, minute: float) -> None:
    end = next_end(now, minute)
    assert now < end <= now + minute
    assert end % minute == 0


def test_no_minute_is_counted_before_the_first_look_is_over(monitor: Monitor) -> None:
    monitor.minute = 0.5
    over = threading.Event()
    monitor.lookout.look = over.wait  # type: ignore[method-assign,assignment]  # one that hangs
    running = threading.Thread(target=monitor.run)
    running.start()
    began = time.monotonic()
    minutes = monitor.minutes[NAME]
    eventually(lambda: time.monotonic() > began + 1.6, within=10, what="three minutes")
    before = minutes.total
    over.set()
    eventually(lambda: minutes.bad[Blame.UNSEEN], within=10, what="a minute that nobody saw")
    monitor.stop()
    running.join(20)
    assert not running.is_alive()
    assert before == 0
