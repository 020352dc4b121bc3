from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.product.sla import (
    UnreadableError,
    availability_share,
    duration_seconds,
    duration_text,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15_minutes", 900),
        ("1_hour", 3600),
        ("30s", 30),
        ("30_seconds", 30),
        ("90_days", 7_776_000),
        ("2_weeks", 1_209_600),
        ("500_milliseconds", Decimal("0.5")),
        ("500ms", Decimal("0.5")),
        ("5min", 300),
        ("2h", 7200),
        ("1d", 86_400),
        ("1.5_hours", 5400),
        ("15 minutes", 900),
        ("0.1_seconds", Decimal("0.1")),
    ],
)
def test_durations(text: str, seconds: int | Decimal) -> None:
    assert seconds == duration_seconds(text)


@pytest.mark.parametrize(
    "text",
    ["", "15", "minutes", "-5_minutes", "0_minutes", "15_fortnights", "15__minutes", "1_hour 5_min",
     "1e3_seconds", "15_Minutes", "٣_minutes", "5_m", "15_minutess", None, True, 15, 1.5, []],
)  # fmt: skip
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(UnreadableError) as caught:
        duration_seconds(text)

    assert "duration" in caught.value.expected


def test_a_number_alone_is_asked_for_its_unit() -> None:
    with pytest.raises(UnreadableError) as caught:
        duration_seconds(15)

    assert "15_minutes" in caught.value.remedy


def test_m_is_neither_minutes_nor_months() -> None:
    with pytest.raises(UnreadableError) as caught:
        duration_seconds("15_m")

    assert "minutes or months" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "share"),
    [("99.9%", "0.999"), ("100%", "1"), ("99.99 %", "0.9999"), ("0.001%", "0.00001")],
)
def test_availabilities_are_exact(text: str, share: str) -> None:
    assert Decimal(share) == availability_share(text)


@pytest.mark.parametrize(
    "text",
    ["99.9", "0%", "100.1%", "-1%", "%", "99,9%", "1000%", "nan%", "", 0.999, 99.9, None, True, {}],
)
def test_what_is_no_availability_is_refused(text: object) -> None:
    with pytest.raises(UnreadableError) as caught:
        availability_share(text)

    assert "percentage" in caught.value.expected


@pytest.mark.parametrize(("number", "text"), [(0.999, "99.9%"), (99.9, "99.9%"), (1, "100%")])
def test_a_share_without_sign_is_told_how_to_write_it(number: float, text: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        availability_share(number)

    assert text in caught.value.remedy


@given(st.integers(1, 10**9 - 1), st.sampled_from(["second", "minute", "hour", "day", "week"]))
def test_singular_and_plural_mean_the_same(count: int, unit: str) -> None:
    assert duration_seconds(f"{count}_{unit}") == duration_seconds(f"{count}_{unit}s")


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(1, "1_millisecond"), (1500, "1500_milliseconds"), (3_600_000, "1_hour"),
     (5_400_000, "90_minutes"), (90 * 86_400_000, "90_days"), (14 * 86_400_000, "2_weeks")],
)  # fmt: skip
def test_a_duration_is_written_in_its_largest_whole_unit(milliseconds: int, text: str) -> None:
    assert duration_text(milliseconds) == text


@given(st.integers(1, 10**12))
def test_a_written_duration_is_read_as_it_was(milliseconds: int) -> None:
    # Nine digits are all that may be written.
    text = duration_text(milliseconds)

    if len(text.partition("_")[0]) <= 9:
        assert duration_seconds(text) * 1000 == milliseconds
