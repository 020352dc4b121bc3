"""Every metric of a worker, in one class with an injected registry; told once per transaction.

Counters count what is committed: a transaction that was aborted never happened. Everything exists
from the start at 0, so that a rate has a beginning; "last" things are exported as timestamps, so
that their age grows when the process dies. Labels come from closed sets: topics, rules, the fault
classes, and the filter reasons of the product, capped. Product and domain are on everything, so
that no query needs a join.

The counters are plain numbers that one collector exports: the client library's own would cost a
lock a record, and its histogram cannot take a batch.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from mesh_stream.freshness.records import Records
from mesh_stream.pipeline.stages import MAX_REASONS
from mesh_stream.product.product import Product
from mesh_stream.runtime.report import Committed, Ending, WorkerState

OTHER = "other"
# What the stages themselves may say of a record, besides the product's rules.
STAGE_FAULTS = {
    "payload": (
        "empty", "framing", "malformed", "oversize", "schema_incompatible", "trailing_bytes",
        "type", "unknown_schema", "unsafe_schema",
    ),
    "contract": ("early", "event_time", "fanout", "key", "late", "oversize", "schema"),
    "code": ("transformation",),
}  # fmt: skip
_PRODUCT = ("product", "domain")
"""The labels of everything."""
RECORDS = "records"
"""The SLO of the indicator that workers count."""


class ProductMetrics(Collector):
    """What one worker slot exports.

    Args:
        product: The product.
        registry: Where it is exported; one per process.
    """

    def __init__(self, product: Product, registry: CollectorRegistry) -> None:
        self._product = product
        self._labels = (product.name, product.domain)
        self._records = Records(product.sla.freshness_seconds)
        self._consumed: Counter[str] = Counter({port.topic: 0 for port in product.inputs})
        self._produced: Counter[str] = Counter(
            {product.output.topic: 0, product.dead_letter_topic: 0}
        )
        self._sources = 0
        self._filtered: Counter[str] = Counter({"unspecified": 0, "tombstone": 0})
        self._rejected: Counter[tuple[str, str]] = Counter(
            {(fault, rule): 0 for fault, rules in STAGE_FAULTS.items() for rule in rules}
            | {("contract", rule.name): 0 for rule in product.rules}
        )
        self._broken: Counter[str] = Counter({rule.name: 0 for rule in product.rules})
        self._judged = 0
        self._closed = self._restored = 0
        self._unfit: Counter[tuple[str, str]] = Counter()
        self._endings: Counter[Ending] = Counter(dict.fromkeys(Ending, 0))
        self._registry_requests: Counter[str] = Counter()
        self._state = WorkerState.STARTING
        self._lag: dict[tuple[str, int], int] = {}
        self._watermarks: dict[tuple[str, int], float] = {}
        self._newest_event = 0.0
        self._progress = 0.0
        self._transaction_seconds = 0.0
        self._began = time.time()
        # A page is of one moment: between two transactions, so that its books balance.
        self._moment = threading.Lock()
        registry.register(self)

    # The witness of a worker

    def committed(self, transaction: Committed) -> None:
        """Count one committed transaction."""
        with self._moment:
            self._count(transaction)

    def _count(self, transaction: Committed) -> None:
        self._consumed.update(transaction.consumed)
        self._produced[self._product.output.topic] += transaction.facts
        self._produced[self._product.dead_letter_topic] += transaction.rejected.total()
        self._sources += transaction.sources
        self._closed += transaction.closed
        self._unfit.update(transaction.unfit)
        self._produced[self._product.dead_letter_topic] += transaction.unfit.total()
        if self._product.state is not None and self._product.state.repartitions:
            self._produced[self._product.repartition_topic] += transaction.forwarded
        for reason, count in transaction.filtered.items():
            known = reason in self._filtered or len(self._filtered) < MAX_REASONS
            self._filtered[reason if known else OTHER] += count
        for (fault, rule), count in transaction.rejected.items():
            known = (fault, rule) in self._rejected
            self._rejected[fault, rule if known else OTHER] += count
            if rule in self._broken:
                self._broken[rule] += count
                self._judged += count
        for (rule, _), count in transaction.tolerated.items():
            self._broken[rule] += count
        self._judged += transaction.facts
        self._transaction_seconds += transaction.took
        self._newest_event = max(self._newest_event, transaction.newest_event / 1000)
        for partition, watermark in transaction.watermarks.items():
            # Not of one that was given up before this transaction's end was known.
            if partition in self._watermarks:
                self._watermarks[partition] = max(0, watermark) / 1000
        self._records.add(transaction)

    def ended(self, ending: Ending) -> None:
        """Count how a transaction ended."""
        self._endings[ending] += 1

    def state(self, state: WorkerState) -> None:
        """The worker is doing something else now."""
        self._state = state

    def progress(self, now: float) -> None:
        """The loop turned, at `now` seconds since the epoch."""
        self._progress = now

    def taken(self, topic: str, partition: int, offset: int) -> None:  # noqa: ARG002
        """A partition is ours: what is exported of it exists from now on."""
        state = self._product.state
        if state is None or not state.is_timed:
            return
        own = self._product.repartition_topic if state.repartitions else None
        if topic == (own or self._product.inputs[0].topic):
            self._watermarks[topic, partition] = 0

    def given_up(self, topic: str, partition: int) -> None:
        """A partition is ours no more: its series end."""
        self._lag.pop((topic, partition), None)
        self._watermarks.pop((topic, partition), None)

    def lag(self, topic: str, partition: int, records: int) -> None:
        """Records not yet read of a partition that is ours."""
        self._lag[topic, partition] = records

    def restored(self, records: int) -> None:
        """A partition's states were restored by so many changelog records."""
        self._restored += records

    def registry_request(self, code: str) -> None:
        """Count a request to the schema registry by its outcome."""
        self._registry_requests[code] += 1

    # The collector

    def collect(self) -> list[Metric]:
        """Everything, at this moment."""
        with self._moment:
            return list(self._everything())

    def _everything(self) -> Iterator[Metric]:
        product = self._product
        yield self._gauge(
            "mesh_product_info",
            "The data product that this worker runs; always 1.",
            ["version", "owner"],
            {(product.version, product.owner): 1},
        )
        for name, help_, labels, samples in self._counters():
            family = CounterMetricFamily(name, help_, labels=[*_PRODUCT, *labels])
            for values, count in samples.items():
                # Without its own "created", which would be a series more for each.
                family.add_metric(self._texts(values), count)
            yield family
        for name, help_, spread in (
            (
                "mesh_record_freshness_seconds",
                "From a fact's event time to its commit; one bucket lies at the objective.",
                self._records.freshness,
            ),
            (
                "mesh_record_upstream_age_seconds",
                "From a fact's event time to the arrival of its input record.",
                self._records.upstream_age,
            ),
            (
                "mesh_record_residence_seconds",
                "From the arrival of a fact's input record to the fact's commit.",
                self._records.residence,
            ),
        ):
            histogram = HistogramMetricFamily(name, help_, labels=_PRODUCT)
            histogram.add_metric(self._labels, spread.buckets(), spread.sum)
            yield histogram
        yield from self._gauges()

    def _counters(self) -> Iterator[tuple[str, str, list[str], Mapping[Any, float]]]:
        """(name, help, labels, label values -> count); copies: the worker counts on meanwhile."""
        yield (
            "mesh_records_consumed",
            "Input records, by topic.",
            ["topic"],
            dict(self._consumed),
        )
        yield (
            "mesh_records_produced",
            "Facts and dead letters, by topic.",
            ["topic"],
            dict(self._produced),
        )
        yield (
            "mesh_records_sources",
            "Input records that became at least one fact.",
            [],
            {(): self._sources},
        )
        yield (
            "mesh_records_filtered",
            "Input records left out on purpose, by reason.",
            ["reason"],
            dict(self._filtered),
        )
        yield (
            "mesh_records_rejected",
            "Input records dead-lettered, by fault class and rule.",
            ["class", "rule"],
            dict(self._rejected),
        )
        yield (
            "mesh_rule_evaluations",
            "Records judged by each rule, by outcome.",
            ["rule", "outcome"],
            self._evaluations(),
        )
        if self._product.state is not None:
            yield from self._remembered()
        yield (
            "mesh_transactions",
            "Transactions, by how they ended.",
            ["outcome"],
            dict(self._endings),
        )
        yield (
            "mesh_transaction_seconds",
            "Time from a transaction's first record to its commit.",
            [],
            {(): self._transaction_seconds},
        )
        yield (
            "mesh_registry_requests",
            "Requests to the schema registry, by status.",
            ["code"],
            dict(self._registry_requests),
        )
        yield (
            "mesh_slo_events",
            "Facts with an event time, by SLO.",
            ["slo"],
            {RECORDS: self._records.total},
        )
        yield (
            "mesh_slo_good_events",
            "Facts within the objective, by SLO.",
            ["slo"],
            {RECORDS: self._records.good},
        )
        yield (
            "mesh_slo_bad_events",
            "Facts that came too late, by SLO and whose that is.",
            ["slo", "blame"],
            {(RECORDS, blame): count for blame, count in dict(self._records.bad).items()},
        )

    def _remembered(self) -> Iterator[tuple[str, str, list[str], Mapping[Any, float]]]:
        yield (
            "mesh_states_closed",
            "Windows that were closed, and states that were forgotten by their age.",
            [],
            {(): self._closed},
        )
        yield (
            "mesh_windows_rejected",
            "Windows dead-lettered because their fact was wrong, by fault class and rule.",
            ["class", "rule"],
            dict(self._unfit),
        )
        yield (
            "mesh_state_restored_records",
            "Changelog records read to restore states.",
            [],
            {(): self._restored},
        )

    def _evaluations(self) -> dict[tuple[str, str], float]:
        found: dict[tuple[str, str], float] = {}
        for rule, broken in dict(self._broken).items():
            found[rule, "broken"] = broken
            found[rule, "kept"] = self._judged - broken
        return found

    def _gauges(self) -> Iterator[Metric]:
        accounted = self._sources + self._filtered.total() + self._rejected.total()
        yield self._gauge(
            "mesh_conservation_imbalance_records",
            "Input records neither a fact's source, filtered nor rejected; 0.",
            [],
            {(): self._consumed.total() - accounted},
        )
        yield self._gauge(
            "mesh_freshness_objective_seconds",
            "The freshness that the product promises.",
            [],
            {(): self._product.sla.freshness_seconds},
        )
        yield self._gauge(
            "mesh_availability_objective_ratio",
            "The share of good minutes that it promises.",
            [],
            {(): self._product.sla.availability},
        )
        yield self._gauge(
            "mesh_worker_began_timestamp_seconds",
            "When the process began to count.",
            [],
            {(): self._began},
        )
        yield self._gauge(
            "mesh_last_progress_timestamp_seconds",
            "When the loop last turned.",
            [],
            {(): self._progress},
        )
        yield self._gauge(
            "mesh_output_last_event_timestamp_seconds",
            "Event time of the newest fact, not after its commit; 0 before the first.",
            ["topic"],
            {self._product.output.topic: self._newest_event},
        )
        yield self._gauge(
            "mesh_consumer_lag_records",
            "Records not yet read of an assigned partition.",
            ["topic", "partition"],
            dict(sorted(self._lag.copy().items())),
        )
        yield self._gauge(
            "mesh_input_watermark_timestamp_seconds",
            "How far event time has come, by partition of the states; 0 before the first event.",
            ["topic", "partition"],
            dict(sorted(self._watermarks.copy().items())),
        )
        yield self._gauge(
            "mesh_worker_state",
            "1 for what the worker is doing, 0 for the rest.",
            ["state"],
            {state: int(state is self._state) for state in WorkerState},
        )

    def _gauge(
        self, name: str, help_: str, labels: list[str], samples: Mapping[Any, float]
    ) -> Metric:
        family = GaugeMetricFamily(name, help_, labels=[*_PRODUCT, *labels])
        for values, value in samples.items():
            family.add_metric(self._texts(values), value)
        return family

    def _texts(self, values: str | tuple[object, ...]) -> list[str]:
        own = [values] if isinstance(values, str) else [str(value) for value in values]
        return [*self._labels, *own]
