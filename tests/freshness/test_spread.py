"""A histogram counts what a histogram that looks at one span after the other would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.freshness.spread import Spread

SPANS = st.lists(st.integers(-10_000, 100_000_000) | st.sampled_from([0, 1_000, 900_000, 901_000]))


@given(st.lists(SPANS, max_size=4), st.sampled_from([0.001, 1.0, 900.0, 901.5]))
def test_a_bucket_holds_what_is_not_longer_than_its_bound(
    batches: list[list[int]], objective: float
) -> None:
    spread = Spread(objective)
    ordered = [spread.add(batch) for batch in batches]

    spans = [span for batch in batches for span in batch]
    assert ordered == [sorted(batch) for batch in batches]
    for bound, count in spread.buckets():
        assert count == sum(span <= float(bound) * 1000 for span in spans)
    assert abs(spread.sum - sum(max(0, span) for span in spans) / 1000) < 1e-3


@given(st.floats(0.001, 1e6))
def test_one_bucket_lies_at_the_objective(objective: float) -> None:
    bounds = [float(bound) for bound, _ in Spread(objective).buckets()]

    assert objective in bounds
    assert bounds == sorted(set(bounds))
