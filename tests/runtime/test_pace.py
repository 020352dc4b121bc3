from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.runtime.pace import FIRST_BATCH, MAX_BATCH, TURN_SECONDS, next_batch


def test_fast_records_are_asked_for_in_ever_larger_batches_up_to_a_bound() -> None:
    asked = FIRST_BATCH
    for _ in range(10):
        asked = next_batch(asked, got=asked, took=asked * 4e-6)

    assert asked == MAX_BATCH


def test_a_batch_never_more_than_doubles() -> None:
    assert next_batch(100, got=100, took=0.000_001) == 200


@pytest.mark.parametrize("seconds_each", [0.001, 0.01, 0.1])
def test_slow_records_are_asked_for_in_what_fits_into_a_turn(seconds_each: float) -> None:
    asked = next_batch(MAX_BATCH, got=MAX_BATCH, took=MAX_BATCH * seconds_each)

    assert asked == pytest.approx(TURN_SECONDS / seconds_each, abs=1)


def test_one_record_is_asked_for_however_slow_it_is() -> None:
    assert next_batch(1, got=1, took=60.0) == 1


def test_a_turn_without_records_says_nothing() -> None:
    assert next_batch(700, got=0, took=3.0) == 700


@given(asked=st.integers(1, MAX_BATCH), got=st.integers(0, MAX_BATCH), took=st.floats(0, 1e6))
def test_a_batch_stays_within_its_bounds(asked: int, got: int, took: float) -> None:
    assert 1 <= next_batch(asked, got=got, took=took) <= MAX_BATCH
