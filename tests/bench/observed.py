"""`python -m tests.bench.observed`: what it costs that a worker is seen.

Two things. What the witnesses take of each record, each part alone and in processor time, as in
`stages`: noting when it arrived, the books and metrics, the status and its beat; as a share of the
processor time that the worker takes for a record, the client library's included. And `/metrics`
asked for every 100 ms, far more often than Prometheus would, while the worker goes as fast as it
can: interleaved with runs that nobody looks at.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

from mesh_stream.local.stack import ephemeral
from tests.bench import stages, worker_run
from tests.bench.__main__ import QUIET
from tests.bench.arena import PRODUCTS, Arena, ends, fill, provision, read_back
from tests.bench.orders import Books, Orders
from tests.bench.process import Company
from tests.bench.worker_run import Worker

SCRAPE_SECONDS = 0.1
SHARE, LOSS, P99_MILLIS = 0.03, 0.05, 250.0
"""What may be lost to being seen: of the hot path, of throughput under scrapes; and their p99."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One run over the input: records a second, and processor time in microseconds a record."""

    rate: float
    micros: float


@dataclass(frozen=True, slots=True)
class Scrapes:
    """What asking for a worker's metrics took, in milliseconds, and how large a page was."""

    millis: list[float] = field(default_factory=list)
    page_bytes: list[int] = field(default_factory=list)

    @property
    def p99(self) -> float:
        """At most one in a hundred took longer."""
        return quantiles(self.millis, n=100, method="inclusive")[98]


def main() -> None:
    """Measure, and print what was reached."""
    options = _options()
    scrapes = Scrapes()
    with (
        tempfile.TemporaryDirectory(prefix="mesh-bench-") as folder,
        ephemeral(Path(folder) / "stack") as stack,
    ):
        _say("writing orders ...")
        arena = provision(stack)
        books = fill(arena, Orders(seed=1), options.records)
        company = Company(part.pid for part in stack.parts)
        runs = []
        for number in range(options.rounds):
            alone, seen = round_of_two(arena, books, number, scrapes)
            _say(f"round {number + 1}: {alone.rate:,.0f}/s alone, {seen.rate:,.0f}/s scraped")
            runs.append((alone, seen))
        others = company.processors()
    if others > QUIET:
        print(
            f"NOT QUIET  other processes took {others:.1f} of {os.cpu_count()} processors"
            f" meanwhile: measure again before quoting any of this"
        )
    _print_parts(median(alone.micros for alone, _ in runs))
    kept = median(seen.rate / alone.rate for alone, seen in runs)
    print(
        f"\n{books.consumed:,} orders, {len(runs)} rounds: "
        f"{median(alone.rate for alone, _ in runs):,.0f}/s alone, "
        f"{median(seen.rate for _, seen in runs):,.0f}/s asked every "
        f"{SCRAPE_SECONDS * 1000:.0f} ms; "
        f"{len(scrapes.millis)} scrapes of {median(scrapes.page_bytes) / 1e3:.0f} kB"
    )
    _verdict("throughput lost to scrapes", f"{1 - kept:.1%}", f"{LOSS:.0%}", 1 - kept <= LOSS)
    _verdict(
        "p99 of a scrape, ms", f"{scrapes.p99:.0f}", f"{P99_MILLIS:.0f}", scrapes.p99 <= P99_MILLIS
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.observed", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, help="orders in the backlog")
    parser.add_argument("--rounds", type=int, default=5, help="passes of each kind")
    return parser.parse_args()


def round_of_two(arena: Arena, books: Books, number: int, scrapes: Scrapes) -> tuple[Pass, Pass]:
    """One run that nobody looks at and one that is scraped, the other one first each time.

    Raises:
        SystemExit: The books of one do not balance.
    """

    def scraped() -> Pass:
        return _pass(arena, books, lambda worker: _scraping(worker, scrapes))

    def alone() -> Pass:
        return _pass(arena, books, lambda _worker: nullcontext())

    if number % 2:
        seen, unseen = scraped(), alone()
    else:
        unseen, seen = alone(), scraped()
    return unseen, seen


def _pass(arena: Arena, expected: Books, meanwhile: worker_run.Meanwhile) -> Pass:
    output = arena.product.output.topic
    before = ends(arena, output)
    cost, counted = worker_run.work_off(arena, meanwhile)
    written = read_back(arena, output, before)
    if (counted, written.records) != (expected, expected.facts):
        raise SystemExit(f"the books do not balance: {counted}, {written.records:,} facts")
    rate = expected.consumed / max(written.seconds, 0.001)
    return Pass(rate, cost.cpu_seconds / expected.consumed * 1e6)


@contextmanager
def _scraping(worker: Worker, scrapes: Scrapes) -> Iterator[None]:
    """Ask for the worker's metrics every 100 ms for as long as the block lasts."""
    over = threading.Event()

    def scrape() -> None:
        due = time.monotonic()
        while not over.wait(max(0.0, due - time.monotonic())):
            asked = time.monotonic()
            with urllib.request.urlopen(f"http://{worker.metrics}/metrics", timeout=10) as answer:
                scrapes.page_bytes.append(len(answer.read()))
            scrapes.millis.append((time.monotonic() - asked) * 1000)
            due += SCRAPE_SECONDS

    asking = threading.Thread(target=scrape)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()


def _print_parts(whole: float) -> None:
    found = stages.observing(PRODUCTS)
    print(f"\nof the worker's {whole:.2f} microseconds a record, each part alone:")
    for stage in found:
        print(f"  {stage.name:<32}{stage.micros:6.3f}{stage.micros / whole:8.2%}")
    share = sum(stage.micros for stage in found) / whole
    _verdict("share of the hot path", f"{share:.1%}", f"{SHARE:.0%}", share <= SHARE)
    alone = sum(stage.micros for stage in stages.measure(PRODUCTS))
    of_stages = sum(stage.micros for stage in found) / alone
    print(f"  {of_stages:.1%} of the stages that need no broker, {alone:.2f} microseconds")


def _verdict(what: str, reached: str, target: str, good: bool) -> None:
    print(f"{'reached' if good else 'MISSED':<9}{what}: {reached} (at most {target})")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
