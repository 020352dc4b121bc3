"""A histogram counts what a histogram that looks at one span after the other would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.freshness.spread import Spread

NOW = 1_800_000_000_000
AGES = st.lists(st.integers(-10_000, 100_000_000) | st.sampled_from([0, 1_000, 900_000, 901_000]))


@given(
    st.lists(AGES, max_size=4),
    st.sampled_from([0.001, 1.0, 900.0, 901.5]),
    st.sampled_from([NOW, 0]),
)
def test_a_bucket_holds_what_is_not_older_than_its_bound(
    batches: list[list[int]], objective: float, now: int
) -> None:
    spread = Spread(objective)
    for batch in batches:
        spread.add([now - age for age in batch], now)

    ages = [age for batch in batches for age in batch]
    for bound, count in spread.buckets():
        assert count == sum(age <= float(bound) * 1000 for age in ages)
    assert abs(spread.sum - sum(max(0, age) for age in ages) / 1000) < 1e-3


@given(st.floats(0.001, 1e6))
def test_one_bucket_lies_at_the_objective(objective: float) -> None:
    bounds = [float(bound) for bound, _ in Spread(objective).buckets()]

    assert objective in bounds
    assert bounds == sorted(set(bounds))
