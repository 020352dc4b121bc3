"""Figures are read from the very page that a worker serves."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from mesh_stream.freshness import metrics
from mesh_stream.freshness.figures import Figures, Slot, parse, total
from mesh_stream.freshness.metrics import ProductMetrics
from mesh_stream.product.loader import load_product
from mesh_stream.runtime.report import Committed, WorkerState

PRODUCT = load_product(Path(__file__).parents[2] / "products/orders/orders-completed")
OUTPUT, LETTERS = PRODUCT.output.topic, PRODUCT.dead_letter_topic
NOW = 1_800_000_000_000


class Worker:
    """A worker's metrics, without the worker."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.metrics = ProductMetrics(PRODUCT, self._registry)

    def commits(self, sources: int, filtered: int, rejected: int) -> None:
        self.metrics.committed(
            Committed(
                consumed=Counter({"raw.orders": sources + filtered + rejected}),
                sources=sources,
                facts=sources,
                filtered=Counter({"not_completed": filtered}),
                rejected=Counter({("payload", "malformed"): rejected}),
                event_times=[NOW - 2_000] * sources,
                arrivals=[NOW - 1_000] * sources,
                newest_event=NOW - 2_000,
                at=NOW,
            )
        )

    def page(self) -> str:
        return generate_latest(self._registry).decode()


@pytest.fixture(autouse=True)
def _every_process_begins_at_another_time(monkeypatch: pytest.MonkeyPatch) -> None:
    times = itertools.count(1_700_000_000)
    monkeypatch.setattr(metrics, "time", SimpleNamespace(time=lambda: float(next(times))))


def serving(*pages: str | None) -> httpx.Client:
    """Answers with one page after the other; None is a worker that is not there."""
    left = iter(pages)

    def answer(request: httpx.Request) -> httpx.Response:
        page = next(left)
        if page is None:
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(200, text=page)

    return httpx.Client(transport=httpx.MockTransport(answer))


def test_a_worker_s_page_is_read_whole() -> None:
    worker = Worker()
    worker.commits(3, 4, 2)
    worker.metrics.state(WorkerState.RUNNING)
    worker.metrics.lag("raw.orders", 0, 5)
    worker.metrics.lag("raw.orders", 1, 6)
    figures = parse(worker.page())
    assert figures.consumed == {"raw.orders": 9}
    assert figures.produced == {OUTPUT: 3, LETTERS: 2}
    assert figures.sources == 3
    assert figures.filtered == {"not_completed": 4}
    assert figures.rejected == {("payload", "malformed"): 2}
    assert figures.lag == 11
    assert figures.newest_event == (NOW - 2_000) / 1000
    assert figures.states == {"running"}
    assert figures.created == 1_700_000_000
    assert figures.imbalance == 0


def test_a_worker_that_has_done_nothing_has_no_figures_but_a_state() -> None:
    figures = parse(Worker().page())
    assert figures == Figures(states=frozenset({"starting"}), created=1_700_000_000)


def test_a_page_that_is_no_metrics_page_is_refused() -> None:
    with pytest.raises(ValueError, match="<html>"):
        parse("<html>not found</html>")


def test_records_of_no_fate_are_an_imbalance() -> None:
    assert Figures(consumed=Counter({"a": 5}), sources=3).imbalance == 2


def test_a_product_s_figures_are_its_slots_together() -> None:
    one, other = Worker(), Worker()
    one.commits(1, 2, 3)
    one.metrics.state(WorkerState.RUNNING)
    other.commits(10, 20, 30)
    both = total(parse(worker.page()) for worker in (one, other))
    assert (both.sources, both.filtered.total(), both.rejected.total()) == (11, 22, 33)
    assert both.consumed == {"raw.orders": 66}
    assert both.states == {"running", "starting"}


def test_a_restart_forgets_nothing_even_where_the_new_process_is_ahead() -> None:
    first, second = Worker(), Worker()
    first.commits(3, 0, 0)
    first.metrics.lag("raw.orders", 0, 7)
    second.commits(50, 1, 0)
    client = serving(first.page(), second.page(), second.page())
    slot = Slot("127.0.0.1:1")
    assert slot.ask(client).sources == 3
    assert slot.ask(client).sources == 53
    again = slot.ask(client)
    assert (again.sources, again.consumed.total()) == (53, 54)
    assert again.lag == 0


def test_a_worker_that_does_not_answer_is_starting_then_gone() -> None:
    worker = Worker()
    worker.commits(3, 0, 0)
    worker.metrics.lag("raw.orders", 0, 7)
    slot, client = Slot("127.0.0.1:1"), serving(None, worker.page(), None)
    assert slot.ask(client).states == {"starting"}
    assert slot.ask(client).sources == 3
    gone = slot.ask(client)
    assert (gone.sources, gone.lag, gone.states) == (3, 0, frozenset({"gone"}))


def test_a_rule_that_only_warns_is_told_apart_from_one_that_rejects() -> None:
    worker = Worker()
    rules = [rule.name for rule in PRODUCT.rules]
    worker.metrics.committed(
        Committed(
            consumed=Counter({"raw.orders": 9}),
            sources=7,
            facts=7,
            rejected=Counter({("contract", rules[0]): 2}),
            tolerated=Counter({(rules[0], "warn"): 3, (rules[1], "observe"): 4}),
        )
    )
    figures = parse(worker.page())
    assert figures.rejected == {("contract", rules[0]): 2}
    assert figures.tolerated == {rules[0]: 3, rules[1]: 4}
    assert (figures + figures).tolerated == {rules[0]: 6, rules[1]: 8}
