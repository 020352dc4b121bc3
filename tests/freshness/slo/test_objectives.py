from __future__ import annotations

from decimal import Decimal

import pytest

from mesh_stream.freshness.slo.objectives import MINUTES, Slo, percent, plain, slos_of
from mesh_stream.product.product import Product
from tests.freshness.slo.conftest import promising


@pytest.mark.parametrize(
    ("availability", "budget"), [(0.999, "0.001"), (0.95, "0.05"), (0.99999, "0.00001"), (1.0, "0")]
)
def test_a_budget_is_exact(product: Product, availability: float, budget: str) -> None:
    slo = Slo(promising(product, availability), MINUTES)

    assert slo.budget == Decimal(budget)
    assert plain(slo.budget) == budget


def test_a_product_has_an_slo_of_minutes_and_one_of_records(product: Product) -> None:
    assert [slo.id for slo in slos_of(product)] == [
        "orders-completed-minutes",
        "orders-completed-records",
    ]


def test_a_rate_that_nothing_can_burn_at_is_left_out(product: Product) -> None:
    strict = Slo(promising(product, 0.999), MINUTES)
    lax = Slo(promising(product, 0.8), MINUTES)

    assert [float(burn.factor) for burn in strict.burns] == [14.4, 6, 3, 1]
    assert [float(burn.factor) for burn in lax.burns] == [3, 1]


@pytest.mark.parametrize(
    ("share", "text"), [("0.999", "99.9%"), ("1", "100%"), ("0.5", "50%"), ("0.00001", "0.001%")]
)
def test_a_share_is_written_as_one_declares_it(share: str, text: str) -> None:
    assert percent(Decimal(share)) == text
