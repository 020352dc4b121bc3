"""`mesh-stream monitor`: freshness measured from outside the workers."""

from __future__ import annotations

import json
import logging
import math
import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from mesh_stream.cli.options import load, log_to_stderr, products_option
from mesh_stream.cli.printable import moment, printable
from mesh_stream.local.interrupts import Interrupts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mesh_stream.freshness.monitor import Monitor
    from mesh_stream.freshness.reading import Reading
    from mesh_stream.product.product import Product
    from mesh_stream.settings import Settings

log = logging.getLogger(__name__)

_LOOKS = 3
"""For `--once`: what a client that has just connected does not answer, it does the next time."""


@click.command()
@click.argument("products_named", metavar="[PRODUCT...]", nargs=-1)
@click.option("--domain", metavar="DOMAIN", help="Only the products of this domain.")
@click.option("--once", is_flag=True, help="Print what every product is now, and end.")
@click.option("--json", "as_json", is_flag=True, help="With --once: one JSON document.")
@click.option(
    "--metrics-host", default="127.0.0.1", show_default=True,
    help="Address to serve on: /metrics, /targets (Prometheus' HTTP discovery of the workers), "
    "/-/healthy. They are for the operators' network only.",
)  # fmt: skip
@click.option(
    "--metrics-port", type=click.IntRange(0, 65535), default=9390, show_default=True,
    help="The port; 0 takes any that is free.",
)  # fmt: skip
@click.option(
    "--minute", type=click.FloatRange(0.5, 60), default=60, metavar="SECONDS", show_default=True,
    help="How long a minute is; shorter only for rehearsals.",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Log warnings only.")
@products_option
def monitor(
    products_named: tuple[str, ...],
    domain: str | None,
    once: bool,
    as_json: bool,
    metrics_host: str,
    metrics_port: int,
    minute: float,
    quiet: bool,
    products: str | None,
) -> int:
    """Watch whether products keep their promise of freshness, with or without living workers.

    It looks every second at committed offsets, topics' ends, the newest records, and what workers
    say of themselves, and says of each product whether it is fresh, idle, stale or unknown, and
    whose that is. It counts every minute as good or bad: availability is the share of good ones.

    It joins no group and writes nothing: its principal needs Describe on the products' topics and
    groups, and Read on the topics (mesh.status among them). Any number may run; they agree.

    Declarations are read at the start: restart it when they have changed, or there are new ones.
    Counts begin at 0 then, as Prometheus expects of a counter.

    With --once it exits with 0 where all are fresh or idle, with 1 where one is stale or unknown,
    with 3 where the broker does not answer.
    """
    if as_json and not once:
        raise click.UsageError("--json goes with --once: what runs on is asked for its metrics")
    log_to_stderr(verbose=not (quiet or once))
    chosen, settings = load(products, products_named, domain)
    if once:
        return _once(chosen, settings, minute, as_json=as_json)
    return _watch(chosen, settings, minute, (metrics_host, metrics_port))


def _watch(
    products: list[Product], settings: Settings, minute: float, address: tuple[str, int]
) -> int:
    from mesh_stream.freshness.monitor_server import serving

    interrupts = Interrupts()
    interrupts.hurry.append(lambda: os._exit(1))
    with (
        _monitoring(products, settings, minute) as watching,
        interrupts.heard(),
        serving(watching, *address) as served,
    ):
        click.echo(f"monitor: http://{served}/metrics", err=True)
        running = threading.Thread(target=watching.run, name="monitor")
        running.start()
        interrupts.requested.wait()
        watching.stop()
        running.join()
    return 0


def _once(products: list[Product], settings: Settings, minute: float, *, as_json: bool) -> int:
    from mesh_stream.kafka.client import reached

    reached(settings)
    with _monitoring(products, settings, minute) as watching:
        for _ in range(_LOOKS):
            readings = watching.look()
            if not any(reading.seen.problem for reading in readings.values()):
                break
        watching.close()
    if as_json:
        click.echo(json.dumps([_document(reading) for reading in readings.values()]))
    else:
        for line in _table(readings):
            click.echo(line)
    return 0 if all(reading.verdict.is_good for reading in readings.values()) else 1


@contextmanager
def _monitoring(products: list[Product], settings: Settings, minute: float) -> Iterator[Monitor]:
    from mesh_stream.freshness.moments import Schemas
    from mesh_stream.freshness.monitor import Monitor
    from mesh_stream.kafka.registry import SchemaRegistry

    with SchemaRegistry(settings) as registry:
        yield Monitor(products, settings, Schemas(registry), minute=minute)


def _document(reading: Reading) -> dict[str, Any]:
    """One product as JSON: moments in ISO 8601, durations in seconds."""
    product, evidence = reading.product, reading.seen.evidence
    waiting = evidence.waiting
    cadence = reading.objective.cadence
    return {
        "product": product.name,
        "domain": product.domain,
        "owner": product.owner,
        "state": reading.verdict.state,
        "blame": reading.verdict.blame,
        "at": _iso(reading.at),
        "objective_seconds": reading.objective.freshness,
        "cadence_seconds": None if math.isinf(cadence) else cadence,
        "newest_fact": _iso(evidence.newest_fact),
        "newest_fact_age_seconds": _rounded(reading.age),
        "newest_input": _iso(evidence.newest_input),
        "last_asked": _iso(evidence.last_asked),
        "waiting": None
        if waiting is None
        else {"arrived": _iso(waiting.arrived), "event_time": _iso(waiting.event_time)},
        "unread_records": reading.seen.unread,
        "dead_letters_kept_records": reading.seen.dead_letters,
        "seen_at": _iso(evidence.seen_at or None),
        "problem": reading.seen.problem or None,
        "workers": [
            {"slot": slot, "state": status.state, "at": moment(status.at)}
            for slot, status in sorted(reading.seen.statuses.items())
        ],
    }


def _table(readings: Mapping[str, Reading]) -> Iterable[str]:
    head = ["PRODUCT", "STATE", "BLAME", "NEWEST FACT", "OBJECTIVE", "WAITING", "UNREAD", "WORKERS"]
    rows = [head, *(_row(reading) for reading in readings.values())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
    for name, reading in readings.items():
        if reading.seen.problem:
            yield printable(f"{name}: {reading.seen.problem}")


def _row(reading: Reading) -> list[str]:
    seen = reading.seen
    age, waits = reading.age, reading.waits
    workers = [
        f"{slot} {status.state} ({_span(max(0.0, reading.at - status.at / 1000))} ago)"
        for slot, status in sorted(seen.statuses.items())
    ]
    return [
        f"{reading.product.domain}/{reading.product.name}",
        reading.verdict.state,
        reading.verdict.blame or "-",
        "none" if age is None else f"{_span(age)} old",
        _objective(reading),
        "nothing" if waits is None else f"since {_span(waits)}",
        str(seen.unread),
        ", ".join(workers) or "none has said anything",
    ]


def _objective(reading: Reading) -> str:
    freshness, cadence = reading.objective.freshness, reading.objective.cadence
    if math.isinf(cadence):
        return f"{_span(freshness)} after a session"
    return f"{_span(freshness)} after {_span(cadence)}" if cadence else _span(freshness)


def _span(seconds: float) -> str:
    """A duration as people say it, in its two largest units."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    left, parts = int(seconds), []
    for unit, size in units:
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2])


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else moment(int(seconds * 1000))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
