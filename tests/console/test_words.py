from __future__ import annotations

import math
from decimal import Decimal

import pytest

from mesh_stream.console.words import link, moment, rate, rule, share, size, span
from mesh_stream.product.product import (
    Between,
    Check,
    Holds,
    InSet,
    LengthBetween,
    MatchesRegex,
    NotNull,
    Rule,
)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"), (1.44, "1.4 s"), (59, "59 s"), (60, "1 min"), (3_661, "1 h 1 min"),
        (90_000, "1 d 1 h"), (math.inf, "for ever"), (None, "\N{EN DASH}"),
    ],
)  # fmt: skip
def test_durations_are_said_in_two_units(seconds: float | None, said: str) -> None:
    assert span(seconds) == said


def test_only_the_whole_is_a_hundred_percent() -> None:
    assert [share(of) for of in (1.0, 0.999999, 0.999, 0.5, 0.0)] == [
        "100%", "99.99%", "99.9%", "50%", "0%",
    ]  # fmt: skip


def test_figures_have_the_digits_that_can_be_used() -> None:
    assert [rate(of) for of in (0, 0.25, 9.96, 1234.5)] == ["0", "0.2", "10.0", "1,234"]
    assert [size(of) for of in (None, 0, 9_999, 123_456)] == ["null", "0 B", "9,999 B", "123.5 kB"]


def test_moments_beyond_the_calendar_are_none() -> None:
    assert moment(1_800_000_000) == "2027-01-15 08:00:00 UTC"
    assert moment(1e18) == moment(0) == moment(None) == "\N{EN DASH}"


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "docs", "", "http://[x"],
)
def test_nothing_that_a_browser_would_run_is_linked(url: str) -> None:
    assert link(url) == ""


def test_addresses_are_linked() -> None:
    assert link("https://data.example.com/x") == "https://data.example.com/x"


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (NotNull(), "f is there"),
        (Between(0, None, strict_minimum=True), "f is more than 0"),
        (Between(Decimal("0.5"), 9), "f is at least 0.5 and is at most 9"),
        (InSet(("a", "b"), negated=True), "f is none of 'a', 'b'"),
        (InSet(tuple(range(9))), "f is one of 0, 1, 2, 3, 4, 5 and 3 more"),
        (MatchesRegex("x+"), "f matches x+"),
        (LengthBetween(None, 3), "f has a length of at most 3"),
    ],
)
def test_rules_are_put_into_words(check: Check, said: str) -> None:
    assert rule(Rule("r", check, "f")) == said


def test_a_predicate_is_named() -> None:
    def adds_up(_record: object) -> bool:
        return True

    assert rule(Rule("r", Holds(adds_up), None)) == "adds_up(record) is true"
