from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from mesh_stream.freshness.slo.objectives import MINUTES, RECORDS, Slo
from mesh_stream.freshness.slo.recording import recording_groups
from mesh_stream.product.product import Product
from tests.freshness.slo.conftest import promising

# What Sloth writes for an SLO (github.com/slok/sloth, examples/_gen/getting-started.yml).
SLOTHS = {
    *(
        f"slo:sli_error:ratio_rate{window}"
        for window in ("5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d")
    ),
    "slo:objective:ratio",
    "slo:error_budget:ratio",
    "slo:time_period:days",
    "slo:current_burn_rate:ratio",
    "slo:period_burn_rate:ratio",
    "slo:period_error_budget_remaining:ratio",
    "sloth_slo_info",
}


def rules(slo: Slo, minute: float = 60) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for group in recording_groups(slo, minute):
        for rule in group["rules"]:
            assert rule["record"] not in found
            found[rule["record"]] = rule
    return found


@pytest.mark.parametrize("name", [MINUTES, RECORDS])
def test_everything_that_sloth_records_is_recorded_by_its_name(product: Product, name: str) -> None:
    recorded = rules(Slo(product, name))

    assert {one for one in recorded if not one.startswith("mesh:")} == SLOTHS


def test_every_series_carries_sloths_labels_and_the_products(product: Product) -> None:
    for name, rule in rules(Slo(product, MINUTES)).items():
        assert (
            rule["labels"].items()
            >= {
                "sloth_id": "orders-completed-minutes",
                "sloth_service": "orders-completed",
                "sloth_slo": "minutes",
                "product": "orders-completed",
                "domain": "orders",
                "owner": "orders-team",
            }.items()
        )
        if "ratio_rate" in name:
            assert rule["labels"]["sloth_window"] == name.partition("ratio_rate")[2]


def test_only_the_budget_is_for_whoever_is_to_blame(product: Product) -> None:
    recorded = rules(Slo(product, RECORDS))
    by_blame = {name for name in recorded if name.startswith("mesh:sli_error")}

    assert {name.replace("mesh:", "slo:") for name in by_blame} < SLOTHS


def test_a_promise_of_all_divides_by_no_zero(product: Product) -> None:
    recorded = rules(Slo(promising(product, 1.0), MINUTES))

    assert recorded["slo:error_budget:ratio"]["expr"] == "vector(0)"
    assert recorded["slo:current_burn_rate:ratio"]["expr"].endswith("/ 0.000000001")


def test_a_rehearsal_differs_in_lengths_only(product: Product) -> None:
    slo = Slo(product, MINUTES)
    real, rehearsed = rules(slo), rules(slo, 1)

    assert real.keys() == rehearsed.keys()
    for name, rule in real.items():
        assert rehearsed[name]["labels"] == rule["labels"]
        lengths = re.compile(r"\[[0-9a-z]+\]")
        assert lengths.sub("", rehearsed[name]["expr"]) == lengths.sub("", rule["expr"])
    assert "[5s]" in rehearsed["mesh:sli_error:ratio_rate5m"]["expr"]
