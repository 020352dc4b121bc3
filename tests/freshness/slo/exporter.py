"""A small exporter that says what it is told to: a monitor, and a worker that the monitor names."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from mesh_stream.freshness.sli import Blame, State
from mesh_stream.product.product import Product
from mesh_stream.runtime.report import WorkerState

Key = tuple[str, tuple[tuple[str, str], ...]]


class Page:
    """One page of metrics. Everything may be set from any thread."""

    def __init__(self) -> None:
        self._samples: dict[Key, float] = {}
        self._lock = threading.Lock()

    def set(self, name: str, value: float, **labels: str) -> None:
        with self._lock:
            self._samples[name, tuple(sorted(labels.items()))] = value

    def add(self, name: str, value: float, **labels: str) -> None:
        with self._lock:
            key = (name, tuple(sorted(labels.items())))
            self._samples[key] = self._samples.get(key, 0.0) + value

    def text(self) -> str:
        with self._lock:
            samples = dict(self._samples)
        lines = []
        for (name, labels), value in samples.items():
            written = ",".join(f'{label}="{text}"' for label, text in labels)
            lines.append(f"{name}{{{written}}} {value!r}\n")
        return "".join(lines)


@contextmanager
def served(answers: dict[str, Callable[[], tuple[str, str]]]) -> Iterator[str]:
    """An HTTP server on loopback: path -> (content type, body); yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path)
            if answer is None:
                self.send_error(404)
                return
            kind, body = answer()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base's
            """Nobody wants to read each scrape."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def metrics_of(page: Page) -> Callable[[], tuple[str, str]]:
    return lambda: ("text/plain; version=0.0.4", page.text())


def targets_of(*workers: tuple[str, str, str]) -> Callable[[], tuple[str, str]]:
    """Prometheus' http_sd form of workers: (address, product, slot)."""
    groups = [
        {"targets": [address], "labels": {"product": product, "slot": slot}}
        for address, product, slot in workers
    ]
    return lambda: ("application/json", json.dumps(groups))


def counted(page: Page, product: Product, slo: str, *, good: int = 0, **bad: int) -> None:
    """Counts events of an SLO; every series is there from the first count, at 0."""
    labels = {"product": product.name, "domain": product.domain, "slo": slo}
    page.add("mesh_slo_events_total", good + sum(bad.values()), **labels)
    page.add("mesh_slo_good_events_total", good, **labels)
    for blame in Blame:
        page.add("mesh_slo_bad_events_total", bad.get(blame, 0), **labels, blame=blame)


def monitored(page: Page, product: Product, state: State, *, slot: str = "0") -> None:
    """What a monitor exports of a product besides its counters."""
    labels = {"product": product.name, "domain": product.domain}
    now = time.time()
    for one in State:
        page.set("mesh_freshness_state", float(one is state), **labels, state=one)
    for blame in Blame:
        page.set("mesh_freshness_blame", 0.0, **labels, blame=blame)
    for worker in (*map(str, WorkerState), "stopped"):
        running = float(worker == WorkerState.RUNNING)
        page.set("mesh_worker_reported_state", running, **labels, slot=slot, state=worker)
    page.set("mesh_worker_last_status_timestamp_seconds", now, **labels, slot=slot)
    for name, value in {
        "mesh_freshness_objective_seconds": product.sla.freshness_seconds,
        "mesh_freshness_cadence_seconds": 0.0,
        "mesh_availability_objective_ratio": product.sla.availability,
        "mesh_output_last_event_timestamp_seconds": now - 1,
        "mesh_waiting_event_timestamp_seconds": 0.0,
        "mesh_unread_records": 3.0,
        "mesh_dead_letters_kept_records": 2.0,
        "mesh_seen_timestamp_seconds": now,
    }.items():
        page.set(name, value, **labels)


def worked(page: Page, product: Product, records: int) -> None:
    """What a worker exports of a product besides its SLO's counters, when it has done so much."""
    labels = {"product": product.name, "domain": product.domain}
    page.set("mesh_conservation_imbalance_records", 0.0, **labels)
    (port, *_) = product.inputs
    page.set("mesh_consumer_lag_records", 1.0, **labels, topic=port.topic, partition="0")
    page.add("mesh_records_consumed_total", records, **labels, topic=port.topic)
    page.add("mesh_records_produced_total", records, **labels, topic=product.output.topic)
    page.add("mesh_transactions_total", 1, **labels, outcome="committed")
    for outcome, count in (("kept", records), ("broken", 0)):
        page.add("mesh_rule_evaluations_total", count, **labels, rule="some", outcome=outcome)
    rejected = {"class": "contract", "rule": "some"}
    page.add("mesh_records_rejected_total", 1, **labels, **rejected)
    for metric in ("mesh_record_upstream_age_seconds", "mesh_record_residence_seconds"):
        for bound in ("1.0", "+Inf"):
            page.add(f"{metric}_bucket", records, **labels, le=bound)
        page.add(f"{metric}_count", records, **labels)
        page.add(f"{metric}_sum", records * 0.5, **labels)
