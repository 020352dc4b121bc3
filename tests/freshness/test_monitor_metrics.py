"""What the monitor exports and serves: everything from the start, timestamps, closed sets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from mesh_stream.errors import PlatformError
from mesh_stream.freshness import monitor_server
from mesh_stream.freshness.monitor import Monitor
from mesh_stream.freshness.monitor_metrics import MonitorMetrics
from mesh_stream.freshness.monitor_server import serving
from mesh_stream.freshness.reading import Seen
from mesh_stream.freshness.sli import Evidence, Waiting
from mesh_stream.product.loader import load_product
from mesh_stream.runtime.report import WorkerState
from mesh_stream.runtime.status import Status
from mesh_stream.settings import Settings
from mesh_stream.testing.memory import MemorySchemas

ROOT = Path(__file__).parent.parent.parent
NAME = "orders-completed"
PRODUCT = {"product": NAME, "domain": "orders"}


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    settings = Settings.load(
        {"MESH_BOOTSTRAP_SERVERS": "127.0.0.1:1", "MESH_REGISTRY_URL": "http://127.0.0.1:1/x"}
    )
    product = load_product(ROOT / "products/orders/orders-completed")
    monitor = Monitor([product], settings, MemorySchemas())
    yield monitor
    monitor.close()


@pytest.fixture
def registry(monitor: Monitor) -> CollectorRegistry:
    registry = CollectorRegistry()
    MonitorMetrics(monitor, registry)
    return registry


def said(state: WorkerState, at: float, metrics: str, slot: int = 0) -> Status:
    return Status(NAME, "1.1.0", slot, state, int(at * 1000), 0, metrics=metrics)


def test_everything_is_there_before_anything_was_seen(registry: CollectorRegistry) -> None:
    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, PRODUCT | labels)

    assert value("mesh_freshness_objective_seconds") == 900
    assert value("mesh_freshness_cadence_seconds") == 0
    assert value("mesh_availability_objective_ratio") == 0.999
    for name in (
        "mesh_output_last_event_timestamp_seconds", "mesh_input_last_event_timestamp_seconds",
        "mesh_input_last_asked_timestamp_seconds", "mesh_waiting_since_timestamp_seconds",
        "mesh_waiting_event_timestamp_seconds", "mesh_unread_records",
        "mesh_dead_letters_kept_records", "mesh_seen_timestamp_seconds",
    ):  # fmt: skip
        assert value(name) == 0, name
    states = {s: value("mesh_freshness_state", state=s) for s in ("fresh", "idle", "stale")}
    assert (states, value("mesh_freshness_state", state="unknown")) == (
        {"fresh": 0, "idle": 0, "stale": 0}, 1,
    )  # fmt: skip
    blames = [value("mesh_freshness_blame", blame=b) for b in ("own", "upstream", "unseen")]
    assert blames == [0, 0, 1]
    assert value("mesh_slo_events_total", slo="minutes") == 0
    assert value("mesh_slo_good_events_total", slo="minutes") == 0
    for blame in ("own", "upstream", "unseen"):
        assert value("mesh_slo_bad_events_total", slo="minutes", blame=blame) == 0
    for part in ("topics", "status", "groups", "offsets", "records"):
        name, labels = "mesh_monitor_reading_failures_total", {"part": part}
        assert registry.get_sample_value(name, labels) == 0
    assert registry.get_sample_value("mesh_monitor_reading_seconds") == 0


def test_what_was_seen_is_exported_as_moments(
    monitor: Monitor, registry: CollectorRegistry
) -> None:
    at = monitor.readings()[NAME].at
    evidence = Evidence(
        seen_at=at, newest_fact=at - 5, newest_input=at - 4, last_asked=at - 3,
        waiting=Waiting(at - 1, at - 2),
    )  # fmt: skip
    statuses = {3: said(WorkerState.PAUSED, at - 7, "127.0.0.1:9400", 3)}
    monitor.lookout.seen = {NAME: Seen(evidence, statuses, unread=4, dead_letters=2)}

    def value(name: str, **labels: str) -> float:
        found = registry.get_sample_value(name, PRODUCT | labels)
        assert found is not None
        return found

    assert value("mesh_output_last_event_timestamp_seconds") == at - 5
    assert value("mesh_input_last_event_timestamp_seconds") == at - 4
    assert value("mesh_input_last_asked_timestamp_seconds") == at - 3
    assert value("mesh_waiting_since_timestamp_seconds") == at - 1
    assert value("mesh_waiting_event_timestamp_seconds") == at - 2
    assert (value("mesh_unread_records"), value("mesh_dead_letters_kept_records")) == (4, 2)
    last = value("mesh_worker_last_status_timestamp_seconds", slot="3")
    assert last == pytest.approx(at - 7, abs=0.001)
    assert value("mesh_worker_reported_state", slot="3", state="paused") == 1
    assert value("mesh_worker_reported_state", slot="3", state="running") == 0
    assert value("mesh_freshness_state", state="fresh") == 1
    assert sum(value("mesh_freshness_blame", blame=b) for b in ("own", "upstream", "unseen")) == 0


def page(address: str, path: str) -> tuple[str, str]:
    with urlopen(f"http://{address}{path}", timeout=10) as answer:
        return answer.read().decode(), answer.headers["Content-Type"]


def test_three_pages_are_served_and_nothing_else(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(monitor, "127.0.0.1", 0) as address:
        text, _ = page(address, "/metrics")
        assert "mesh_freshness_state" in {f.name for f in text_string_to_metric_families(text)}
        assert page(address, "/targets") == ("[]", "application/json; charset=utf-8")
        assert page(address, "/-/healthy")[0] == "looking\n"
        with pytest.raises(HTTPError, match="404"):
            page(address, "/")
        monkeypatch.setattr(monitor_server, "HUNG_SECONDS", -1.0)
        with pytest.raises(HTTPError, match="503"):
            page(address, "/-/healthy")


def test_the_other_loopback_is_served_too_and_written_as_addresses_are(monitor: Monitor) -> None:
    with serving(monitor, "::1", 0) as address:
        assert address.startswith("[::1]:")
        assert page(address, "/-/healthy")[0] == "looking\n"


def test_a_port_that_is_taken_is_told(monitor: Monitor) -> None:
    with serving(monitor, "127.0.0.1", 0) as address:
        port = int(address.rpartition(":")[2])
        with pytest.raises(PlatformError, match="choose another with --metrics-port"):
            serving(monitor, "127.0.0.1", port).__enter__()


def test_targets_are_the_workers_that_should_be_up(monitor: Monitor) -> None:
    at = monitor.readings()[NAME].at
    running, old = WorkerState.RUNNING, at - monitor_server.FORGOTTEN_SECONDS - 1
    statuses = [
        said(running, at, "127.0.0.1:9400", 0),
        # Killed a while ago: to be seen that it is down.
        said(running, at - 600, "[::1]:9401", 1),
        said(running, old, "127.0.0.1:9402", 2),
        said(WorkerState.STOPPED, at, "127.0.0.1:9403", 3),
        said(running, at, "", 4),
        said(running, at, "127.0.0.1:9405/../admin", 5),
        said(running, at, "user@host:1", 6),
    ]
    monitor.lookout.seen = {NAME: Seen(statuses={one.slot: one for one in statuses})}
    found: Any = json.loads(json.dumps(monitor_server.targets(monitor.readings())))
    assert found == [
        {"targets": ["127.0.0.1:9400"], "labels": {"product": NAME, "slot": "0"}},
        {"targets": ["[::1]:9401"], "labels": {"product": NAME, "slot": "1"}},
    ]
