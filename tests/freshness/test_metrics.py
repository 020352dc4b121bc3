"""What a worker exports: committed counts, from closed sets, all there from the start."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from mesh_stream.freshness.metrics import ProductMetrics
from mesh_stream.freshness.sli import Blame
from mesh_stream.pipeline.stages import MAX_REASONS
from mesh_stream.pipeline.windows import NEVER
from mesh_stream.product.loader import load_product
from mesh_stream.product.product import Product
from mesh_stream.runtime.report import Committed, Ending, WorkerState
from tests.product.folds import product as folding

ROOT = Path(__file__).parent.parent.parent
NOW = 1_800_000_000_000


@pytest.fixture
def product() -> Product:
    return load_product(ROOT / "products/orders/orders-completed")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(product: Product, registry: CollectorRegistry) -> ProductMetrics:
    return ProductMetrics(product, registry)


def committed(
    *,
    consumed: int = 0,
    sources: int = 0,
    filtered: dict[str, int] | None = None,
    rejected: dict[tuple[str, str], int] | None = None,
    tolerated: dict[tuple[str, str], int] | None = None,
    ages: tuple[float, ...] = (),
    upstream_ages: tuple[float, ...] = (),
) -> Committed:
    times = [NOW - round(age * 1000) for age in ages]
    spans = upstream_ages or (0.0,) * len(ages)
    return Committed(
        consumed=Counter({"raw.orders": consumed}),
        sources=sources,
        facts=sources,
        filtered=Counter(filtered or {}),
        rejected=Counter(rejected or {}),
        tolerated=Counter(tolerated or {}),
        event_times=times,
        arrivals=[when + round(span * 1000) for when, span in zip(times, spans, strict=True)],
        newest_event=min(NOW, max(times, default=0)),
        at=NOW,
        took=0.1,
    )


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    whose = {"product": "orders-completed", "domain": "orders"}
    return registry.get_sample_value(name, {**whose, **labels})


def test_every_series_exists_at_zero_before_the_first_record(
    metrics: ProductMetrics, registry: CollectorRegistry, product: Product
) -> None:
    assert value(registry, "mesh_records_consumed_total", topic="raw.orders") == 0
    assert value(registry, "mesh_records_produced_total", topic=product.output.topic) == 0
    assert value(registry, "mesh_records_produced_total", topic=product.dead_letter_topic) == 0
    assert value(registry, "mesh_transactions_total", outcome="zombie_aborted") == 0
    for name in ("freshness", "upstream_age", "residence"):
        assert value(registry, f"mesh_record_{name}_seconds_count") == 0
        assert value(registry, f"mesh_record_{name}_seconds_bucket", le="900.0") == 0
    assert value(registry, "mesh_slo_events_total", slo="records") == 0
    assert value(registry, "mesh_slo_good_events_total", slo="records") == 0
    for blame in Blame:
        assert value(registry, "mesh_slo_bad_events_total", slo="records", blame=blame.value) == 0
    for rule in product.rules:
        labels = {"class": "contract", "rule": rule.name}
        assert value(registry, "mesh_records_rejected_total", **labels) == 0
        assert value(registry, "mesh_rule_evaluations_total", rule=rule.name, outcome="kept") == 0


def test_the_books_balance_after_a_mixed_transaction(
    metrics: ProductMetrics, registry: CollectorRegistry
) -> None:
    metrics.committed(
        committed(
            consumed=10,
            sources=6,
            filtered={"not_completed": 3},
            rejected={("payload", "malformed"): 1},
        )
    )

    assert value(registry, "mesh_conservation_imbalance_records") == 0
    assert value(registry, "mesh_records_filtered_total", reason="not_completed") == 3


def test_a_lost_record_shows_as_an_imbalance(
    metrics: ProductMetrics, registry: CollectorRegistry
) -> None:
    metrics.committed(committed(consumed=10, sources=9))

    assert value(registry, "mesh_conservation_imbalance_records") == 1


def test_a_page_shows_all_of_a_transaction_or_nothing(
    metrics: ProductMetrics,
) -> None:
    one = committed(consumed=3, sources=1, filtered={"old": 1}, rejected={("payload", "type"): 1})
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            metrics.committed(one)

    def books() -> list[float]:
        page = {family.name: family.samples for family in metrics.collect()}
        parts = ("consumed", "sources", "filtered", "rejected")
        return [sum(each.value for each in page[f"mesh_records_{part}"]) for part in parts]

    # As often as it can be, one is in the middle while the other goes on.
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    worker = threading.Thread(target=work)
    worker.start()
    try:
        pages = [books() for _ in range(100)]
    finally:
        ended.set()
        worker.join()
        sys.setswitchinterval(usual)

    assert all(consumed == sum(parts) for consumed, *parts in pages)
    assert pages[0] < pages[-1]


def test_one_bucket_lies_exactly_at_the_objective(
    metrics: ProductMetrics, registry: CollectorRegistry, product: Product
) -> None:
    objective = product.sla.freshness_seconds
    metrics.committed(
        committed(consumed=3, sources=3, ages=(objective - 1, objective, objective + 0.001))
    )

    bucket = "mesh_record_freshness_seconds_bucket"
    assert value(registry, bucket, le=str(objective)) == 2
    assert value(registry, bucket, le="+Inf") == 3
    assert value(registry, "mesh_slo_good_events_total", slo="records") == 2
    assert value(registry, "mesh_slo_events_total", slo="records") == 3
    assert value(registry, "mesh_slo_bad_events_total", slo="records", blame="own") == 1


def test_the_age_of_a_fact_is_what_came_before_us_and_what_came_after(
    metrics: ProductMetrics, registry: CollectorRegistry
) -> None:
    metrics.committed(committed(consumed=2, sources=2, ages=(1000, 20), upstream_ages=(950, 5)))

    assert value(registry, "mesh_record_upstream_age_seconds_sum") == 955
    assert value(registry, "mesh_record_residence_seconds_sum") == 65
    assert value(registry, "mesh_record_freshness_seconds_sum") == 1020
    assert value(registry, "mesh_slo_bad_events_total", slo="records", blame="upstream") == 1
    assert value(registry, "mesh_slo_bad_events_total", slo="records", blame="own") == 0


def test_everything_says_which_product_it_is_of(
    metrics: ProductMetrics, registry: CollectorRegistry
) -> None:
    metrics.lag("raw.orders", 0, 17)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    samples = [sample for family in families for sample in family.samples]

    assert len(samples) > 100
    for sample in samples:
        assert sample.labels["product"] == "orders-completed"
        assert sample.labels["domain"] == "orders"


def test_a_fact_from_the_future_is_fresh_and_makes_no_negative_sum(
    metrics: ProductMetrics, registry: CollectorRegistry
) -> None:
    metrics.committed(committed(consumed=2, sources=2, ages=(-3600, 5)))

    assert value(registry, "mesh_record_freshness_seconds_sum") == 5
    assert value(registry, "mesh_record_freshness_seconds_count") == 2


def test_a_fact_without_an_event_time_is_not_measured(
    metrics: ProductMetrics, registry: CollectorRegistry
) -> None:
    transaction = committed(consumed=2, sources=2, ages=(5,))
    transaction.event_times.append(-1)
    transaction.arrivals.append(NOW)
    metrics.committed(transaction)

    assert value(registry, "mesh_slo_events_total", slo="records") == 1


def test_the_newest_event_is_a_timestamp_and_never_goes_back(
    metrics: ProductMetrics, registry: CollectorRegistry, product: Product
) -> None:
    metrics.committed(committed(consumed=1, sources=1, ages=(10,)))
    metrics.committed(committed(consumed=1, sources=1, ages=(500,)))

    name = "mesh_output_last_event_timestamp_seconds"
    assert value(registry, name, topic=product.output.topic) == NOW / 1000 - 10


def test_reasons_that_a_product_makes_up_are_capped(
    metrics: ProductMetrics, registry: CollectorRegistry
) -> None:
    for number in range(MAX_REASONS * 3):
        metrics.committed(committed(consumed=1, filtered={f"order_{number}": 1}))

    families = text_string_to_metric_families(generate_latest(registry).decode())
    reasons = [
        sample
        for family in families
        for sample in family.samples
        if sample.name == "mesh_records_filtered_total"
    ]
    assert len(reasons) <= MAX_REASONS + 1
    assert sum(sample.value for sample in reasons) == MAX_REASONS * 3


def test_a_rule_counts_what_it_tolerates_and_what_it_rejects(
    metrics: ProductMetrics, registry: CollectorRegistry
) -> None:
    rule = "total_amount_between"
    metrics.committed(
        committed(
            consumed=10,
            sources=8,
            rejected={("contract", rule): 2},
            tolerated={(rule, "warn"): 1},
        )
    )

    name = "mesh_rule_evaluations_total"
    assert value(registry, name, rule=rule, outcome="broken") == 3
    assert value(registry, name, rule=rule, outcome="kept") == 7


def test_the_lag_of_a_revoked_partition_is_no_longer_exported(
    metrics: ProductMetrics, registry: CollectorRegistry
) -> None:
    metrics.lag("raw.orders", 0, 17)
    assert value(registry, "mesh_consumer_lag_records", topic="raw.orders", partition="0") == 17

    metrics.given_up("raw.orders", 0)

    assert value(registry, "mesh_consumer_lag_records", topic="raw.orders", partition="0") is None


def test_a_watermark_is_there_while_its_partition_is_ours(
    registry: CollectorRegistry, tmp_path: Path
) -> None:
    windows = "state: {key: sku, window: {tumbling: 1_hour}}"
    remembering = folding(tmp_path, f"inputs: [{{topic: raw.stock, event_time: at}}]\n{windows}")
    own = remembering.repartition_topic
    metrics = ProductMetrics(remembering, registry)
    name = "mesh_input_watermark_timestamp_seconds"
    whose = {"product": remembering.name, "domain": remembering.domain}

    def watermark(topic: str) -> float | None:
        return value(registry, name, topic=topic, partition="3", **whose)

    for topic in ("raw.stock", own):
        metrics.taken(topic, 3, 0)
    assert (watermark("raw.stock"), watermark(own)) == (None, 0)
    metrics.committed(Committed(watermarks={(own, 3): NEVER}, at=NOW))
    assert watermark(own) == 0
    metrics.committed(Committed(watermarks={(own, 3): NOW - 5_000}, at=NOW))
    assert watermark(own) == NOW / 1000 - 5

    metrics.given_up(own, 3)
    # Told when the end of a transaction was not known until then.
    metrics.committed(Committed(watermarks={(own, 3): NOW}, at=NOW))
    assert watermark(own) is None


def test_exactly_one_state_is_on(metrics: ProductMetrics, registry: CollectorRegistry) -> None:
    for state in WorkerState:
        metrics.state(state)

        on = {s for s in WorkerState if value(registry, "mesh_worker_state", state=s.value)}
        assert on == {state}


def test_how_transactions_ended_is_counted(
    metrics: ProductMetrics, registry: CollectorRegistry
) -> None:
    metrics.ended(Ending.ZOMBIE_ABORTED)

    assert value(registry, "mesh_transactions_total", outcome="zombie_aborted") == 1
    assert value(registry, "mesh_transactions_total", outcome="committed") == 0
