from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.local.arrivals import Ages, Arrived, counting_letters
from mesh_stream.testing import MemoryMessage, ProductDriver


def ages(*millis: int) -> Ages:
    found = Ages()
    for one in millis:
        found.add(one)
    return found


@given(millis=st.lists(st.integers(0, 99_999), min_size=1), share=st.floats(0.01, 1.0))
def test_a_quantile_is_the_age_that_so_many_facts_did_not_exceed(
    millis: list[int], share: float
) -> None:
    expected = sorted(millis)[math.ceil(share * len(millis)) - 1]
    assert ages(*millis).quantile(share) == expected


@given(millis=st.lists(st.integers(0, 99_999), min_size=1), bound=st.integers(0, 99_999))
def test_a_share_is_counted_up_to_and_with_its_bound(millis: list[int], bound: int) -> None:
    expected = sum(one <= bound for one in millis) / len(millis)
    assert ages(*millis).share_within(bound) == pytest.approx(expected)


def test_without_facts_nothing_is_known() -> None:
    assert (ages().quantile(0.5), ages().share_within(1_000)) == (None, None)


def test_a_fact_from_the_future_is_new() -> None:
    assert ages(-5_000).quantile(1.0) == 0


def test_old_facts_are_told_by_the_second_so_that_memory_is_bounded() -> None:
    found = ages(*range(3_600_000, 3_610_000))
    assert len(found.counts) == 10
    assert found.quantile(0.05) == 3_600_000


def test_a_dead_letter_of_a_window_is_counted_apart_from_those_of_records() -> None:
    driver = ProductDriver.load(Path(__file__).parents[2] / "products/analytics/revenue-hourly")
    nine = datetime(2026, 3, 1, 9, tzinfo=UTC)
    order = {"order_id": "ord_1", "customer_id": "c1", "units": 1}
    driver.send(order | {"total_amount": -1, "completed_at": nine})
    driver.advance(nine + timedelta(hours=2))
    driver.send(order | {"total_amount": 1, "completed_at": nine})
    assert [one.rule for one in driver.rejected] == ["revenue_between", "late"]

    arrived = Arrived()
    count = counting_letters(arrived, driver.product)
    for one in driver.rejected:
        letter = MemoryMessage(
            driver.product.dead_letter_topic, one.message.value(), record_headers=one.headers
        )
        count(letter, 0)

    assert arrived.windows == Counter({("contract", "revenue_between"): 1})
    assert arrived.letters == Counter({("contract", "late"): 1})
