"""Which windows hold a time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.pipeline.windows import EPOCH, FIRST, LAST, ordered, starts, unordered, window
from mesh_stream.product.product import Hopping

TIMES = st.integers(FIRST, LAST)


@given(at=st.integers(-500, 500), advance=st.integers(1, 40), more=st.integers(0, 100))
def test_windows_are_those_that_begin_at_a_multiple_and_hold_the_time(
    at: int, advance: int, more: int
) -> None:
    shape = Hopping(advance + more, advance)

    assert list(starts(at, shape)) == [
        start
        for start in range(-700, 501)
        if start % advance == 0 and start <= at < start + shape.size
    ]


def test_a_tumbling_window_holds_its_start_and_not_its_end() -> None:
    hour = Hopping(3_600_000, 3_600_000)

    assert list(starts(3_600_000, hour)) == [3_600_000]
    assert list(starts(3_599_999, hour)) == [0]
    assert list(starts(-1, hour)) == [-3_600_000]


@given(st.lists(TIMES, min_size=1))
def test_times_sort_as_their_bytes_do_and_come_back(times: list[int]) -> None:
    assert [unordered(encoded) for encoded in sorted(map(ordered, times))] == sorted(times)


@given(TIMES)
def test_a_window_has_the_moments_that_its_milliseconds_are(start: int) -> None:
    made = window(start, start)

    assert (made.start - EPOCH).total_seconds() * 1000 == pytest.approx(start, abs=1)
    assert made.start == made.end
    assert made.start.tzinfo is UTC


def test_the_first_and_the_last_moment_are_those_of_the_calendar() -> None:
    made = window(FIRST, LAST)

    assert made.start == datetime.min.replace(tzinfo=UTC)
    assert made.end == datetime.max.replace(tzinfo=UTC, microsecond=999_000)
    for outside in (FIRST - 1, LAST + 1):
        with pytest.raises(OverflowError):
            window(outside, outside)
