from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from mesh_stream.freshness.slo.alerting import (
    ALERTS,
    BURN,
    burn_alerts,
    monitor_alerts,
    product_alerts,
)
from mesh_stream.freshness.slo.objectives import RECORDS, Slo, slos_of
from mesh_stream.product.product import Product
from tests.freshness.slo.conftest import ROOT, promising


def all_alerts(product: Product) -> list[Mapping[str, Any]]:
    burning = [rule for slo in slos_of(product) for rule in burn_alerts(slo, 60)]
    return [*burning, *product_alerts(product, 60), *monitor_alerts(60)]


def anchors() -> set[str]:
    """The headings of the README as GitHub links to them."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    titles = re.findall(r"^#+ (.+)$", readme, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_there_are_the_alerts_that_were_agreed_and_no_others(product: Product) -> None:
    assert {rule["alert"] for rule in all_alerts(product)} == set(ALERTS)


def test_only_own_lateness_and_blindness_page(product: Product) -> None:
    paging = {
        (rule["alert"], rule["labels"].get("slo") or rule["labels"]["reason"])
        for rule in all_alerts(product)
        if rule["labels"]["severity"] == "page"
    }

    assert paging == {
        ("MeshFreshnessBudgetBurn", "minutes"),
        ("MeshFreshnessBudgetBurn", "records"),
        ("MeshMonitorBlind", "down"),
        ("MeshMonitorBlind", "blind"),
    }


def test_every_alert_says_what_is_wrong_and_where_it_says_what_to_do(product: Product) -> None:
    for rule in all_alerts(product):
        annotations = rule["annotations"]
        assert annotations["summary"]
        assert "{{" in annotations["description"], "a description has the numbers"
        file, _, anchor = annotations["runbook"].partition("#")
        assert file == "README.md"
        assert anchor in anchors()


def test_nothing_asks_for_the_absence_of_a_series(product: Product) -> None:
    assert [rule for rule in all_alerts(product) if "absent" in rule["expr"]] == []


@pytest.mark.parametrize("availability", [0.999, 0.95, 0.8, 0.5])
def test_there_is_no_threshold_that_cannot_be_passed(product: Product, availability: float) -> None:
    for slo in slos_of(promising(product, availability)):
        for rule in burn_alerts(slo, 60):
            thresholds = re.findall(r"> \(([0-9.]+) \* ([0-9.]+)\)", rule["expr"])
            assert thresholds
            assert all(float(factor) * float(budget) < 1 for factor, budget in thresholds)


def test_a_promise_of_next_to_nothing_alerts_nobody(product: Product) -> None:
    # 1% of good minutes: even all bad burns the budget at little more than it allows.
    (minutes, _) = slos_of(promising(product, 0.01))

    assert [rule["labels"]["severity"] for rule in burn_alerts(minutes, 60)] == ["ticket", "notice"]


def test_few_late_records_say_nothing(product: Product) -> None:
    for rule in burn_alerts(Slo(product, RECORDS), 60):
        conditions = rule["expr"].count("\nor\n") + 1
        assert rule["expr"].count(">= 10") == conditions


def test_the_windows_name_is_no_label_of_an_alert(product: Product) -> None:
    for slo in slos_of(product):
        for rule in burn_alerts(slo, 60):
            if rule["alert"] == BURN:
                # Else an alert would end and another begin when it burns on in another window.
                assert rule["expr"].count("max without (sloth_window)") == 4
