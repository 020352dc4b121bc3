"""The third contender: the product worker as deployed, a process of its own with metrics served."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from mesh_stream.kafka import groups
from mesh_stream.kafka.client import admin
from mesh_stream.runtime.supervisor import free_address
from tests.bench.arena import PARTITIONS, SILENCE_SECONDS, Arena, ends
from tests.bench.contender import Cost
from tests.bench.orders import TOPIC, Books
from tests.bench.process import cpu_seconds, peak_bytes

GLANCE_SECONDS = 0.1
_PARTITIONS = [(TOPIC, number) for number in range(PARTITIONS)]


@dataclass(frozen=True, slots=True)
class Worker:
    """A running worker."""

    process: subprocess.Popen[bytes]
    metrics: str

    def cost(self) -> Cost:
        """What it has cost so far, its start-up included."""
        return Cost(cpu_seconds(self.process.pid), peak_bytes(self.process.pid))

    def serves(self) -> bool:
        """Whether its metrics can be scraped: everything it needs is imported then."""
        try:
            self.counter("mesh_records_consumed")
        except OSError:
            return False
        return True

    def counter(self, name: str) -> int:
        """The sum of a counter over its labels, as Prometheus would scrape it."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        samples = re.findall(rf"^{name}_total(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
        return int(sum(map(float, samples)))

    def books(self) -> Books:
        """What its metrics say became of its input."""
        return Books(
            self.counter("mesh_records_consumed"),
            self.counter("mesh_records_sources"),
            self.counter("mesh_records_filtered"),
            self.counter("mesh_records_rejected"),
        )


@contextmanager
def running(arena: Arena) -> Iterator[Worker]:
    """A worker for as long as the block lasts; it has to stop as it promises."""
    address = free_address("127.0.0.1", 0, set())
    place = ["--slot", "0", "--metrics", address, "--quiet"]
    command = [sys.executable, "-m", "mesh_stream.cli", "worker", arena.product.name, *place]
    process = subprocess.Popen(command, env=arena.environment)
    worker = Worker(process, address)
    try:
        _await(worker, worker.serves, "serves its metrics")
        yield worker
        process.send_signal(signal.SIGTERM)
        if code := process.wait(SILENCE_SECONDS):
            raise SystemExit(f"the worker ended with code {code}")
    finally:
        process.kill()
        process.wait()


Meanwhile = Callable[[Worker], AbstractContextManager[None]]
"""What goes on beside a worker for as long as it is at its input."""


def work_off(
    arena: Arena, meanwhile: Meanwhile = lambda _worker: nullcontext()
) -> tuple[Cost, Books]:
    """Let a worker process the whole input topic from its beginning.

    Returns:
        What it cost once its parts were loaded, and what its metrics say of its input.
    """
    group = arena.product.group
    if groups.committed(arena.settings, group, _PARTITIONS):
        # Begin at the beginning, as a worker that was never there before.
        # The client is held: with it would go whoever answers.
        client = admin(arena.settings)
        client.delete_consumer_groups([group])[group].result(SILENCE_SECONDS)
    with running(arena) as worker:
        loaded = worker.cost()
        with meanwhile(worker):
            await_end_of_input(arena, worker)
        cost = worker.cost()
        total = sum(ends(arena, TOPIC).values())
        # What is committed is counted a moment later.
        _await(worker, lambda: worker.books().consumed >= total, "counts all that it has committed")
        return Cost(cost.cpu_seconds - loaded.cpu_seconds, cost.peak_bytes), worker.books()


def await_end_of_input(arena: Arena, worker: Worker) -> None:
    """Wait until the worker has committed all there is on the input topic."""
    await_offsets(arena, worker, TOPIC, sum(ends(arena, TOPIC).values()))


def await_offsets(arena: Arena, worker: Worker, topic: str, records: int) -> None:
    """Wait until the worker has committed so many records of a topic."""
    done = 0
    partitions = [(topic, number) for number in range(PARTITIONS)]
    with groups.Offsets(arena.settings, arena.product.group) as offsets:

        def further() -> bool:
            nonlocal done
            before, done = done, sum(offsets.committed(partitions).values())
            return done > before

        while done < records:
            _await(worker, further, f"commits more than {done:,} of {records:,} records")


def _await(worker: Worker, condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SILENCE_SECONDS
    while not condition():
        if worker.process.poll() is not None:
            raise SystemExit(f"the worker ended with code {worker.process.returncode}")
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {SILENCE_SECONDS:.0f} s: the worker {what}")
        time.sleep(GLANCE_SECONDS)
