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

import pytest

from mesh_stream.kafka import topics
from mesh_stream.kafka.client import admin
from mesh_stream.kafka.groups import committed
from mesh_stream.local import process, stack
from mesh_stream.local.extra import require
from mesh_stream.local.feed import order_events
from mesh_stream.local.stack import Stack
from mesh_stream.testing import ProductDriver
from tests.deadline import eventually
from tests.kafka.declaring import settings_of
from tests.kafka.reading import messages

psutil = require("psutil")
pytestmark = pytest.mark.kafka

PRODUCTS = Path(__file__).parents[2] / "products"
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

    def __init__(self, data: Path, *arguments: str, terminal: bool = False) -> None:
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
                [sys.executable, "-m", "mesh_stream.cli", "demo", *arguments],
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

        eventually(fed, within=90, what="the demo shows what it rejects")

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
def running(data: Path, *arguments: str, terminal: bool = False) -> Iterator[Demo]:
    demo = Demo(data, *arguments, terminal=terminal)
    try:
        yield demo
    finally:
        demo.close()


def are_gone(processes: list[Any]) -> bool:
    return not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes)


def test_ctrl_c_ends_everything_within_ten_seconds_and_leaves_nothing(data: Path) -> None:
    with running(data, terminal=True) as demo:
        demo.until_fed()
        children = demo.children()
        assert len(demo.workers()) == 1
        assert len(children) >= 3
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
    for hint in ("create input topic raw.orders", "/metrics", "tail orders-completed", "demo.log"):
        assert hint in said
    assert "stopped; the books were not checked" in said
    assert "Traceback" not in said
    # Nothing is locked: who comes next can have the folder at once.
    assert stack.stop(data) is False


def test_a_demo_that_is_killed_takes_its_workers_with_it(stack: Stack) -> None:
    with running(stack.data, "--rate", "300") as demo:
        demo.until_fed()
        workers = demo.workers()
        demo.process.send_signal(signal.SIGKILL)
        eventually(lambda: are_gone(workers), within=15, what="its worker has noticed and ended")
    assert all(part.answers() for part in stack.parts)


def test_a_demo_ends_by_itself_and_its_books_are_those_of_the_path(stack: Stack) -> None:
    """Whatever was left unread before counts, too: the worker goes on from where it was."""
    product = ProductDriver.load(PRODUCTS / "orders" / "orders-completed")
    begun = committed(
        settings_of(stack), "mesh.orders-completed", [("raw.orders", n) for n in range(4)]
    )
    asking = admin(settings_of(stack))
    there = "raw.orders" in topics.describe(asking, ["raw.orders"])
    before = len(list(messages(stack, "raw.orders"))) if there else 0

    arguments = ("--for", "3", "--rate", "300", "--seed", str(SEED), "--json")
    with running(stack.data, *arguments) as demo:
        out, _ = demo.process.communicate(timeout=120)
        said = demo.said()
    assert demo.process.returncode == 0, said
    assert "MESH_BOOTSTRAP_SERVERS, MESH_REGISTRY_URL ignored" in said
    assert "uses the one that runs" in said
    assert all(part.answers() for part in stack.parts)
    document = json.loads(out)
    assert (document["balanced"], document["differences"]) == (True, [])

    fed = document["fed"]["records"]
    assert fed > 300
    raw = list(messages(stack, "raw.orders"))
    assert len(raw) == before + fed
    keys = [e.key for e in itertools.islice(order_events(SEED, clock=lambda: NOON), fed)]
    assert Counter(keys) <= Counter(message.key() for message in raw)

    # The path without a broker says what has to come of the very same records.
    for message in raw:
        at = (str(message.topic()), int(message.partition() or 0))
        if (message.offset() or 0) >= begun.get(at, 0):
            product.send(message.value(), key=message.key())
    account = document["products"]["orders-completed"]
    assert account["in"] == product.sent
    assert account["facts"] == account["sources"] == len(product.facts)
    assert account["filtered"] == product.filtered
    rejected = Counter(f"{one.fault_class}/{one.rule}" for one in product.rejected)
    assert account["rejected"] == rejected
    assert document["published"] == len(product.facts)
    assert 0 <= account["fresh"]["p50_ms"] <= account["fresh"]["p99_ms"]
    assert account["fresh"]["within_ratio"] == 1.0


def test_a_worker_that_hangs_does_not_hold_up_the_end(stack: Stack) -> None:
    with running(stack.data, "--rate", "100") as demo:
        demo.until_fed()
        (worker,) = demo.workers()
        worker.suspend()
        demo.process.send_signal(signal.SIGTERM)
        assert demo.ended(10) == 0
        assert are_gone([worker])


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
