from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.runtime.pace import MAX_BATCH, TURN_SECONDS, Appetite


def fed(turns: int, *, seconds_each: float) -> Appetite:
    """After so many turns of records that take so long each."""
    appetite = Appetite()
    for _ in range(turns):
        appetite.processed(appetite.records, took=appetite.records * seconds_each)
    return appetite


def test_quick_records_are_asked_for_in_ever_larger_batches_up_to_a_bound() -> None:
    assert fed(20, seconds_each=4e-6).records == MAX_BATCH


def test_a_batch_grows_by_a_quarter_at_most() -> None:
    appetite = Appetite()
    before = appetite.records
    appetite.processed(before, took=0.000_001)

    assert before < appetite.records <= before * 1.25 + 1


@pytest.mark.parametrize("seconds_each", [0.001, 0.01, 0.1])
def test_slow_records_are_asked_for_in_what_fits_into_a_turn(seconds_each: float) -> None:
    appetite = fed(20, seconds_each=4e-6)
    appetite.processed(MAX_BATCH, took=MAX_BATCH * seconds_each)

    assert appetite.records == pytest.approx(TURN_SECONDS / seconds_each, abs=1)


def test_one_record_is_asked_for_however_slow_it_is() -> None:
    assert fed(3, seconds_each=60).records == 1


def test_a_turn_without_records_says_nothing() -> None:
    appetite = fed(20, seconds_each=4e-6)
    appetite.processed(0, took=3.0)

    assert appetite.records == MAX_BATCH


def test_after_a_lost_transaction_one_record_at_a_time_is_read_until_the_next_commit() -> None:
    appetite = fed(20, seconds_each=4e-6)
    appetite.lost()
    for _ in range(20):
        appetite.processed(appetite.records, took=0.000_001)

    assert appetite.records == 1


def test_commits_let_it_grow_again() -> None:
    appetite = fed(20, seconds_each=4e-6)
    appetite.lost()
    for _ in range(50):
        appetite.committed()
        appetite.processed(appetite.records, took=0.000_001)

    assert appetite.records == MAX_BATCH


@given(turns=st.lists(st.tuples(st.integers(0, MAX_BATCH), st.floats(0, 1e6))))
def test_a_batch_stays_within_its_bounds(turns: list[tuple[int, float]]) -> None:
    appetite = Appetite()
    for records, took in turns:
        appetite.processed(records, took=took)
        assert 1 <= appetite.records <= MAX_BATCH
