"""`python -m tests.bench`: the table. Runs by itself, on a stack of its own, in a few minutes."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path
from statistics import median

from mesh_stream.local.stack import ephemeral
from tests.bench import latency, stages
from tests.bench.arena import PARTITIONS, PRODUCTS, fill, provision
from tests.bench.latency import Latency
from tests.bench.orders import Books, Orders
from tests.bench.process import Company
from tests.bench.stages import Stage
from tests.bench.throughput import CONTENDERS, COPY, HANDWRITTEN, WORKER, Run, rounds

OF_HANDWRITTEN, OF_COPY = 0.85, 0.28
P99_MILLIS = 100.0
QUIET = 0.1
"""Processors that others may take before a measurement says more about them than about us."""
PEAK_MEGABYTES = 250.0

_NAMES = {COPY: "bare copy", HANDWRITTEN: "hand-written loop", WORKER: "product worker"}


def main() -> None:
    """Measure, and print what was reached."""
    options = _options()
    with (
        tempfile.TemporaryDirectory(prefix="mesh-bench-") as folder,
        ephemeral(Path(folder) / "stack") as stack,
    ):
        _say("writing orders ...")
        arena = provision(stack)
        orders = Orders(seed=1)
        books = fill(arena, orders, options.records)
        company = Company(part.pid for part in stack.parts)
        runs = []
        for number, done in enumerate(rounds(arena, books, options.rounds), start=1):
            runs.append(done)
            rates = ", ".join(f"{_NAMES[who]} {done[who].rate:,.0f}/s" for who in CONTENDERS)
            _say(f"round {number} of {options.rounds}: {rates}")
        latencies = []
        if options.seconds:
            _say(f"latency at {options.rate:,}/s for {options.seconds:g} s ...")
            latencies = [
                latency.measure(arena, rate=options.rate, seconds=options.seconds)
                for _ in range(options.rounds)
            ]
        others = company.processors()
    _print_throughput(books, orders.average_bytes, runs)
    if latencies:
        _print_latencies(latencies)
    if others > QUIET:
        print(
            f"\nNOT QUIET  other processes took {others:.1f} of {os.cpu_count()} processors"
            f" meanwhile: measure again before quoting any of this"
        )
    if options.profile:
        _print_stages(stages.measure(PRODUCTS), runs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, help="orders in the backlog")
    parser.add_argument("--rounds", type=int, default=3, help="passes of each contender")
    parser.add_argument("--rate", type=int, default=5_000, help="orders a second, for the latency")
    parser.add_argument("--seconds", type=float, default=20, help="of the latency; 0: none")
    parser.add_argument("--profile", action="store_true", help="print what each stage costs")
    return parser.parse_args()


def _print_throughput(books: Books, order_bytes: float, runs: list[dict[str, Run]]) -> None:
    print(
        f"{books.consumed:,} JSON orders of {order_bytes:.0f} bytes, {PARTITIONS} partitions, lz4;"
        f" {len(runs)} rounds, interleaved; Python {platform.python_version()},"
        f" {os.cpu_count()} processors\n"
        f"every run, read back read-committed: {books}\n\n"
        f"{'':<20}{'in/s':>10}{'CPU s/M':>10}{'peak MB':>10}{'of the copy':>14}"
        f"{'of the hand-written':>22}"
    )
    for who in CONTENDERS:
        own = [done[who] for done in runs]
        print(
            f"{_NAMES[who]:<20}{median(run.rate for run in own):>10,.0f}"
            f"{median(run.cpu for run in own):>10.2f}"
            f"{max(run.peak_bytes for run in own) / 1e6:>10.0f}"
            f"{_ratio(runs, who, COPY):>14.2f}{_ratio(runs, who, HANDWRITTEN):>22.2f}"
        )
    print(
        "\nin/s: from the first to the last committed fact, by the moments they were produced at;\n"
        "ratios: medians of the rounds' own; CPU: after start-up, the client library included\n"
    )
    peak = max(done[WORKER].peak_bytes for done in runs) / 1e6
    _verdict("worker of the hand-written loop", _ratio(runs, WORKER, HANDWRITTEN), OF_HANDWRITTEN)
    _verdict("worker of the bare copy", _ratio(runs, WORKER, COPY), OF_COPY)
    _verdict("worker's peak memory, MB", peak, PEAK_MEGABYTES, at_most=True)


def _ratio(runs: list[dict[str, Run]], who: str, other: str) -> float:
    return median(done[who].rate / done[other].rate for done in runs)


def _print_latencies(found: list[Latency]) -> None:
    _verdict(
        f"p99 from send to arrival at {found[0].rate:,}/s, ms",
        median(measured.p99 for measured in found),
        P99_MILLIS,
        at_most=True,
    )
    for measured in found:
        print(
            f"  p50 {measured.p50:.0f}, p99 {measured.p99:.0f}, max {measured.most:.0f} ms over"
            f" {measured.facts:,} facts; orders reached their own topic with p99"
            f" {measured.hop_p99:.0f} ms; the worker took {measured.worker_cpu:.0%} of a processor,"
            f" the sender was late by at most {measured.sender_late:.0f} ms"
        )


def _print_stages(found: list[Stage], runs: list[dict[str, Run]]) -> None:
    whole = 1e6 / median(done[WORKER].rate for done in runs)
    rest = whole - sum(stage.micros for stage in found)
    print(f"\nwhere the worker's {whole:.2f} microseconds a record go, each stage alone:")
    for stage in [*found, Stage("poll, produce, commit, waiting", rest)]:
        print(f"  {stage.name:<32}{stage.micros:6.2f}{stage.micros / whole:8.0%}")


def _verdict(what: str, reached: float, target: float, *, at_most: bool = False) -> None:
    good = reached <= target if at_most else reached >= target
    bound = "at most" if at_most else "at least"
    digits = 0 if at_most else 2
    print(
        f"{'reached' if good else 'MISSED':<9}{what}: {reached:.{digits}f}"
        f" ({bound} {target:.{digits}f})"
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
