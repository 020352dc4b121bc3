"""What the monitor exports: every product as it is when it is asked, and the minutes so far.

Timestamps, not ages, so that an age grows when nobody looks any more; everything from the start,
and 0 where there has been nothing. Labels come from closed sets: products, states, blames, parts of
a look, and slots, which are capped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mesh_stream.freshness.monitor import Monitor
from mesh_stream.freshness.reading import Reading
from mesh_stream.freshness.sli import Blame, State
from mesh_stream.runtime.report import WorkerState

SLO = "minutes"
_PRODUCT = ["product", "domain"]


def _waiting_since(reading: Reading) -> float | None:
    waiting = reading.seen.evidence.waiting
    return None if waiting is None else waiting.arrived


def _waiting_event(reading: Reading) -> float | None:
    waiting = reading.seen.evidence.waiting
    return None if waiting is None else waiting.event_time


GAUGES: Mapping[str, tuple[str, Callable[[Reading], float | None]]] = {
    "mesh_freshness_objective_seconds": (
        "The freshness that the product promises.",
        lambda reading: reading.objective.freshness,
    ),
    "mesh_freshness_cadence_seconds": (
        "What may lie between two facts besides; 0 where each event makes one.",
        lambda reading: reading.objective.cadence,
    ),
    "mesh_availability_objective_ratio": (
        "The share of good minutes that it promises.",
        lambda reading: reading.objective.availability,
    ),
    "mesh_output_last_event_timestamp_seconds": (
        "Event time of the newest fact; 0 before the first.",
        lambda reading: reading.seen.evidence.newest_fact,
    ),
    "mesh_input_last_event_timestamp_seconds": (
        "Newest event time of the input records that were processed; 0 before the first.",
        lambda reading: reading.seen.evidence.newest_input,
    ),
    "mesh_input_last_asked_timestamp_seconds": (
        "When the last input record arrived that was processed and not filtered; 0: none was.",
        lambda reading: reading.seen.evidence.last_asked,
    ),
    "mesh_waiting_since_timestamp_seconds": (
        "When the input record arrived that waits and is due first; 0: nothing waits.",
        _waiting_since,
    ),
    "mesh_waiting_event_timestamp_seconds": (
        "When that record happened; 0: nothing waits.",
        _waiting_event,
    ),
    "mesh_unread_records": (
        "Offsets from the committed to the last; includes what no reader sees.",
        lambda reading: reading.seen.unread,
    ),
    "mesh_dead_letters_kept_records": (
        "Offsets that the dead letter topic still holds; commit markers among them.",
        lambda reading: reading.seen.dead_letters,
    ),
    "mesh_seen_timestamp_seconds": (
        "When the product was last seen; 0: never.",
        lambda reading: reading.seen.evidence.seen_at,
    ),
}
"""Name -> what it says, and where that stands in a reading."""


class MonitorMetrics(Collector):
    """Exports a monitor.

    Args:
        monitor: The monitor.
        registry: Where it is exported.
    """

    def __init__(self, monitor: Monitor, registry: CollectorRegistry) -> None:
        self._monitor = monitor
        self._created = time.time()
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Everything, at this moment."""
        readings = list(self._monitor.readings().values())
        for name, (help_, value) in GAUGES.items():
            family = GaugeMetricFamily(name, help_, labels=_PRODUCT)
            for reading in readings:
                family.add_metric(_of(reading), value(reading) or 0)
            yield family
        yield from _verdicts(readings)
        yield from _workers(readings)
        yield from self._minutes(readings)
        yield from self._itself()

    def _minutes(self, readings: list[Reading]) -> Iterator[Metric]:
        total = CounterMetricFamily(
            "mesh_slo_events", "Minutes that were counted.", labels=[*_PRODUCT, "slo"]
        )
        good = CounterMetricFamily(
            "mesh_slo_good_events", "Minutes with the output up to date.", labels=[*_PRODUCT, "slo"]
        )
        bad = CounterMetricFamily(
            "mesh_slo_bad_events", "The others, by whose they are.",
            labels=[*_PRODUCT, "slo", "blame"],
        )  # fmt: skip
        for reading in readings:
            minutes = self._monitor.minutes[reading.product.name]
            total.add_metric([*_of(reading), SLO], minutes.total, created=self._created)
            good.add_metric([*_of(reading), SLO], minutes.good, created=self._created)
            for blame in Blame:
                bad.add_metric(
                    [*_of(reading), SLO, blame], minutes.bad[blame], created=self._created
                )
        yield total
        yield good
        yield bad

    def _itself(self) -> Iterator[Metric]:
        failures = CounterMetricFamily(
            "mesh_monitor_reading_failures",
            "Looks of which a part failed.",
            labels=["part"],
        )
        for part, count in self._monitor.lookout.failures.copy().items():
            failures.add_metric([part], count, created=self._created)
        yield failures
        yield GaugeMetricFamily(
            "mesh_monitor_reading_seconds",
            "How long the last look took.",
            value=self._monitor.lookout.took,
        )


def _verdicts(readings: list[Reading]) -> Iterator[Metric]:
    states = GaugeMetricFamily(
        "mesh_freshness_state",
        "1 for what the output is, 0 for the rest.",
        labels=[*_PRODUCT, "state"],
    )
    blames = GaugeMetricFamily(
        "mesh_freshness_blame",
        "1 for whose it is that the output is not up to date; 0 for all where it is.",
        labels=[*_PRODUCT, "blame"],
    )
    for reading in readings:
        for state in State:
            states.add_metric([*_of(reading), state], reading.verdict.state is state)
        for blame in Blame:
            blames.add_metric([*_of(reading), blame], reading.verdict.blame is blame)
    yield states
    yield blames


def _workers(readings: list[Reading]) -> Iterator[Metric]:
    said = GaugeMetricFamily(
        "mesh_worker_last_status_timestamp_seconds",
        "When a worker last said something of itself.",
        labels=[*_PRODUCT, "slot"],
    )
    doing = GaugeMetricFamily(
        "mesh_worker_reported_state",
        "1 for what it said that it was doing, 0 for the rest.",
        labels=[*_PRODUCT, "slot", "state"],
    )
    for reading in readings:
        for slot, status in sorted(reading.seen.statuses.items()):
            labels = [*_of(reading), str(slot)]
            said.add_metric(labels, status.at / 1000)
            for state in WorkerState:
                doing.add_metric([*labels, state], status.state is state)
    yield said
    yield doing


def _of(reading: Reading) -> list[str]:
    return [reading.product.name, reading.product.domain]
