"""The demo as a user runs it: a process of its own, on a stack of its own or on one that runs."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from mesh_stream.kafka import topics
from mesh_stream.kafka.client import admin
from mesh_stream.kafka.groups import committed
from mesh_stream.local import process, stack
from mesh_stream.local.extra import require
from mesh_stream.local.feed import ORDERS, TOPICS, shop_events
from mesh_stream.local.side_streams import PRODUCTS as MOVEMENTS
from mesh_stream.local.side_streams import USERS
from mesh_stream.local.stack import Stack
from mesh_stream.local.stack import running as running_stack
from mesh_stream.testing import ProductDriver
from tests.deadline import eventually
from tests.kafka.declaring import settings_of
from tests.kafka.reading import messages
from tests.kafka.retail import facts_of

psutil = require("psutil")
pytestmark = pytest.mark.kafka

PRODUCTS = Path(__file__).parents[2] / "products"
NAMES = ("orders-completed", "products-inventory", "revenue-hourly", "users-active")
REMEMBERING = ["products-inventory", "revenue-hourly", "users-active"]
SEED = 7
NOWHERE = dict.fromkeys(("MESH_BOOTSTRAP_SERVERS", "MESH_REGISTRY_URL"), "nowhere:1")
"""The demo must not go where the environment points."""
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a stack that only these tests use, and that no demo leaves running."""
    folder = tmp_path_factory.mktemp("demo") / "stack"
    yield folder
    left = process.parts_alive(folder)
    process.end(left, gently=False)
    assert left == []


class Demo:
    """A demo in a process of its own, with everything it prints."""

    def __init__(
        self, data: Path, *arguments: str, terminal: bool = False, console: bool = False
    ) -> None:
        self.data = data
        self.output = data.parent / f"{data.name}-{time.monotonic_ns()}.txt"
        self.out = b""
        self._terminal: int | None = None
        end: int | None = None
        if terminal:
            self._terminal, end = pty.openpty()
            os.set_blocking(self._terminal, False)
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "mesh_stream.cli",
                    "demo",
                    *arguments,
                    *([] if console else ["--no-console"]),
                ],
                env=os.environ | NOWHERE | {"MESH_DATA": str(data), "MESH_PRODUCTS": str(PRODUCTS)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=end if terminal else file,
                start_new_session=True,
            )
        if end is not None:
            os.close(end)

    def said(self) -> str:
        """What was printed on standard error until now."""
        if self._terminal is not None:
            with contextlib.suppress(BlockingIOError, OSError):
                while more := os.read(self._terminal, 65_536):
                    self.out += more
            return self.out.decode(errors="replace")
        return self.output.read_text()

    def until_fed(self) -> None:
        """Wait until facts were counted."""

        def fed() -> bool:
            assert self.process.poll() is None, self.said()
            return "payload/" in self.said()

        eventually(fed, within=180, what="the demo shows what it rejects")

    def children(self) -> list[Any]:
        """Every process that it started, brokers and registry included."""
        return list(psutil.Process(self.process.pid).children(recursive=True))

    def workers(self) -> list[Any]:
        """Those of them that are workers."""
        return [child for child in self.children() if "worker" in child.cmdline()]

    def ended(self, within: float) -> int:
        """Its exit code."""
        return self.process.wait(within)

    def close(self) -> None:
        """End whatever is left of it."""
        for child in self.children() if self.process.poll() is None else []:
            child.kill()
        self.process.kill()
        self.process.communicate()
        if self._terminal is not None:
            os.close(self._terminal)


@contextlib.contextmanager
def running(
    data: Path, *arguments: str, terminal: bool = False, console: bool = False
) -> Iterator[Demo]:
    demo = Demo(data, *arguments, terminal=terminal, console=console)
    try:
        yield demo
    finally:
        demo.close()


def are_gone(processes: list[Any]) -> bool:
    return not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes)


def test_ctrl_c_ends_everything_within_ten_seconds_and_leaves_nothing(data: Path) -> None:
    with running(data, "--rate", "200", terminal=True, console=True) as demo:
        demo.until_fed()
        children = demo.children()
        assert len(demo.workers()) == len(NAMES)
        assert len(children) >= len(NAMES) + 2
        began = time.monotonic()
        demo.process.send_signal(signal.SIGINT)
        eventually(
            lambda: demo.said() and demo.process.poll() is not None, within=10, what="it has ended"
        )
        assert time.monotonic() - began < 10
        assert demo.process.returncode == 0
        said = demo.said()
    assert are_gone(children)
    assert process.parts_alive(data) == []
    assert stack.running(data) is None
    assert sorted(found.name for found in (data / "state").iterdir()) == REMEMBERING
    for topic in TOPICS:
        assert f"create input topic {topic}" in said
    for name in NAMES:
        assert f"tail {name}" in said
    for hint in ("/metrics", "demo.log"):
        assert hint in said
    assert "stopped; the books were not checked" in said
    assert "Traceback" not in said
    # Nothing is locked: who comes next can have the folder at once.
    assert stack.stop(data) is False


def test_neither_a_page_that_dies_nor_a_worker_that_hangs_is_the_demo_s_fault(
    stack: Stack,
) -> None:
    with running(stack.data, "--rate", "100", console=True) as demo:
        demo.until_fed()
        url = demo.said().partition("page")[2].split()[0]

        def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(url, trust_env=False).status_code == 200
            return False

        eventually(answers, within=60, what="the page answers")
        children, workers = demo.children(), demo.workers()
        (page,) = [child for child in children if "console" in child.cmdline()]
        page.kill()
        eventually(lambda: not answers(), within=10, what="the page is gone")
        before = demo.said().count("users-active: in")
        eventually(
            lambda: demo.said().count("users-active: in") > before,
            within=30,
            what="the demo goes on",
        )
        workers[-1].suspend()
        demo.process.send_signal(signal.SIGTERM)
        assert demo.ended(10) == 0
    assert are_gone(children)


def test_a_demo_that_is_killed_takes_its_workers_with_it(stack: Stack) -> None:
    with running(stack.data, "--rate", "300") as demo:
        demo.until_fed()
        workers = demo.workers()
        demo.process.send_signal(signal.SIGKILL)
        eventually(lambda: are_gone(workers), within=15, what="its worker has noticed and ended")
    assert running_stack(stack.data) is not None


def test_a_demo_ends_by_itself_and_its_books_are_those_of_the_path(stack: Stack) -> None:
    """After demos that were killed: what they left unread counts, too, and nothing counts twice."""
    begun = {
        (name, topic): committed(
            settings_of(stack), f"mesh.{name}", [(topic, number) for number in range(4)]
        )
        for name, topic in FED.items()
    }
    there = topics.describe(admin(settings_of(stack)), TOPICS)
    before = {topic: len(list(messages(stack, topic))) if topic in there else 0 for topic in TOPICS}

    arguments = ("--for", "3", "--rate", "300", "--seed", str(SEED), "--json")
    with running(stack.data, *arguments) as demo:
        out, _ = demo.process.communicate(timeout=180)
        said = demo.said()
    assert demo.process.returncode == 0, said
    assert "MESH_BOOTSTRAP_SERVERS, MESH_REGISTRY_URL ignored" in said
    assert "uses the one that runs" in said
    assert running_stack(stack.data) is not None
    document = json.loads(out)
    assert (document["balanced"], document["differences"]) == (True, [])
    assert sorted(document["products"]) == list(NAMES)

    fed = document["fed"]["records"]
    assert fed > 300
    assert document["fed"]["topics"] == list(TOPICS)
    made = list(itertools.islice(shop_events(SEED, TOPICS, clock=lambda: NOON), fed))
    for name, topic in FED.items():
        raw = list(messages(stack, topic))
        assert len(raw) == before[topic] + sum(record.topic == topic for record in made)
        keys = Counter(record.key for record in made if record.topic == topic)
        assert keys <= Counter(message.key() for message in raw)
        _is_what_the_path_makes_of(raw, begun[name, topic], document["products"][name])

    orders = document["products"]["orders-completed"]
    assert orders["facts"] == orders["sources"]
    assert 0 <= orders["fresh"]["p50_ms"] <= orders["fresh"]["p99_ms"]
    assert orders["fresh"]["within_ratio"] == 1.0
    # Each order, once as a fact and once keyed for the fold, and what an earlier demo left unread;
    # the others tell how far time has come.
    revenue = document["products"]["revenue-hourly"]
    assert set(revenue["filtered"]) == {"watermark"}
    assert revenue["sources"] >= 2 * orders["facts"]
    _is_the_stock_of_all_that_moved(stack)


FED = {"orders-completed": ORDERS, "products-inventory": MOVEMENTS, "users-active": USERS}
"""Product -> the topic that it reads, of those that are fed."""


def _is_what_the_path_makes_of(
    raw: list[Any], begun: dict[tuple[str, int], int], account: dict[str, Any]
) -> None:
    """The path without a broker says what has to come of the very same records.

    Args:
        raw: All of the topic: what was read by an earlier demo is remembered, and does not count.
        begun: Where this demo began.
        account: What it says of the product.
    """
    product = {topic: name for name, topic in FED.items()}[str(raw[0].topic())]
    (folder,) = PRODUCTS.glob(f"*/{product}")
    driver = ProductDriver.load(folder, partitions=4)

    def send(records: list[Any]) -> None:
        for one in records:
            _, timestamp = one.timestamp()
            driver.send(one.value(), key=one.key(), partition=one.partition(), timestamp=timestamp)

    def is_new(one: Any) -> bool:
        return bool(one.offset() >= begun.get((one.topic(), one.partition()), 0))

    send([one for one in raw if not is_new(one)])
    read, facts, filtered = driver.sent, len(driver.facts), driver.filtered.copy()
    rejected = len(driver.rejected)
    send([one for one in raw if is_new(one)])
    assert account["in"] == driver.sent - read
    assert account["filtered"] == driver.filtered - filtered
    assert account["rejected"] == Counter(
        f"{one.fault_class}/{one.rule}" for one in driver.rejected[rejected:]
    )
    # A commit publishes at most one fact for each key; the path here commits every record.
    assert 0 < account["facts"] <= len(driver.facts) - facts


def _is_the_stock_of_all_that_moved(stack: Stack) -> None:
    """What was published at last is what comes of every movement there ever was, once each."""
    driver = ProductDriver.load(PRODUCTS / "products" / "products-inventory", partitions=4)
    for one in messages(stack, MOVEMENTS):
        driver.send(one.value(), key=one.key(), partition=one.partition())
    found = facts_of(stack, "products.products-inventory.v1", key="sku")
    assert {fact["sku"]: fact["on_hand"] for fact in found} == {
        sku: stock.on_hand for sku, stock in driver.states.items()
    }


def test_an_interrupt_while_the_stack_starts_leaves_nothing(data: Path) -> None:
    with running(data) as demo:
        eventually(lambda: process.parts_alive(data), within=30, what="the stack is being started")
        demo.process.send_signal(signal.SIGTERM)
        assert demo.ended(10) == 0
    assert process.parts_alive(data) == []


def test_products_that_are_wrong_start_nothing(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "orders" / "broken"
    folder.mkdir(parents=True)
    (folder / "data_product.yaml").write_text("data_product: {name: broken}\n")
    with running(data, "--products", str(tmp_path)) as demo:
        assert demo.ended(30) == 2
        assert "data_product.yaml" in demo.said()
    with running(data, "--products", str(tmp_path / "none")) as demo:
        assert demo.ended(30) == 2
        assert "found no folder" in demo.said()
    assert process.parts_alive(data) == []
