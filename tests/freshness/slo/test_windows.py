from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.freshness.slo.windows import BURNS, PERIOD, WINDOWS, duration, window

MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@pytest.mark.parametrize("name", [*WINDOWS, PERIOD])
def test_a_window_of_real_minutes_is_as_long_as_its_name_says(name: str) -> None:
    assert window(name, 60) == name


@pytest.mark.parametrize(
    ("name", "length"),
    [("5m", "5s"), ("1h", "1m"), ("6h", "6m"), ("1d", "24m"), ("3d", "72m"), (PERIOD, "12h")],
)
def test_a_rehearsals_windows_are_as_many_minutes_of_its_own(name: str, length: str) -> None:
    assert window(name, 1) == length


@given(st.floats(0.01, 50_000), st.floats(0.2, 60))
def test_a_duration_is_right_to_the_millisecond(minutes: float, minute: float) -> None:
    text = duration(minutes, minute)
    unit = text.lstrip("0123456789")

    written = int(text.removesuffix(unit)) * MILLISECONDS[unit]

    assert written == max(1, round(minutes * minute * 1000))


def test_the_burn_rates_are_those_of_the_workbook() -> None:
    found = {
        (burn.severity, burn.factor * Fraction(WINDOWS[burn.long], 30 * 1440)) for burn in BURNS
    }

    # Of the budget of 30 days: 2% in an hour, 5% in six, 10% in a day, 10% in three.
    assert found == {
        ("page", Fraction(2, 100)),
        ("page", Fraction(5, 100)),
        ("ticket", Fraction(10, 100)),
    }
