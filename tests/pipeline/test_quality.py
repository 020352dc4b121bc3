"""Rules compiled to one function: the same verdict as judging each by itself, by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream import DependencyError
from mesh_stream.errors import HaltError
from mesh_stream.pipeline.quality import compile_rules
from mesh_stream.pipeline.shape import Shape
from mesh_stream.product.product import (
    Action,
    Between,
    Check,
    Holds,
    InSet,
    IsNull,
    LengthBetween,
    MatchesRegex,
    NotNull,
    OfType,
    Rule,
)
from mesh_stream.testing import ProductDriver
from tests.pipeline.making import (
    DATE,
    MILLIS,
    TIME,
    contract,
    decimal,
    port,
    product,
    transformation,
)

FACTS = contract(
    text=["null", "string"],
    number=["null", "long"],
    share=["null", "double"],
    amount=["null", decimal(9, 2)],
    at=["null", MILLIS],
    day=["null", DATE],
    hour=["null", TIME],
    tags=["null", {"type": "array", "items": "string"}],
)


class Fact(msgspec.Struct):
    text: Any = None
    number: Any = None
    share: Any = None
    amount: Any = None
    at: Any = None
    day: Any = None
    hour: Any = None
    tags: Any = None


def broken(rules: Sequence[Rule], record: Any) -> list[str]:
    judge = compile_rules(rules, contract=FACTS, shape=Shape(type(record)))
    found = judge(record)
    assert found is None or found, "a record that keeps every rule is judged None"
    return [rule.name for rule in found or ()]


def breaks(check: Check, value: Any, column: str = "text") -> bool:
    """Whether a value breaks a check, for each kind of record that may hold it."""
    rule = Rule("rule", check, None if isinstance(check, Holds) else column)
    found = {bool(broken([rule], record)) for record in ({column: value}, Fact(**{column: value}))}
    assert len(found) == 1
    return found.pop()


# Each kind of check, and what a null is to it


@pytest.mark.parametrize(
    ("check", "column", "kept", "not_kept"),
    [
        (NotNull(), "text", ["", "a", 0, False], [None]),
        (IsNull(), "text", [None], ["", 0, False]),
        (Between(0, 10), "number", [0, 10, None], [-1, 11, "5", float("nan")]),
        (Between(0, 10, strict_minimum=True), "number", [1, 10], [0]),
        (Between(0, 10, strict_maximum=True), "number", [0, 9], [10]),
        (Between(0, None), "number", [0, 2**62], [-1]),
        (Between(None, 0), "number", [0, -1], [1]),
        (Between(0.1, 0.2), "share", [0.1, 0.2, 0.15, None], [0.3, float("nan"), "0.1"]),
        # A bound written as a float means the decimal that it shows.
        (Between(0.1, 0.3), "amount", [Decimal("0.1"), Decimal("0.3")], [Decimal("0.3001")]),
        (Between(0, 1), "amount", [Decimal(0), Decimal("-0"), 1], [Decimal("NaN"), Decimal(2)]),
        (
            Between("2026-01-01T00:00:00Z", None),
            "at",
            [datetime(2026, 1, 1, tzinfo=UTC)],
            [datetime(2025, 12, 31, 23, 59, tzinfo=UTC), datetime(2027, 1, 1), "2027"],  # noqa: DTZ001
        ),
        (Between("2026-01-01", "2026-12-31"), "day", [date(2026, 6, 1)], [date(2027, 1, 1)]),
        (Between("08:00:00", "18:00:00"), "hour", [time(12)], [time(7, 59)]),
        (Between("a", "m"), "text", ["a", "kilo", "m"], ["mm", "z", "A", 1]),
        (InSet(("a", "b")), "text", ["a", "b", None], ["c", "", 1, ["a"]]),
        (InSet(("a", "b"), negated=True), "text", ["c", None, 1], ["a", "b", ["c"]]),
        (InSet((0.1, 2)), "amount", [Decimal("0.1"), Decimal("2.00")], [Decimal("0.11")]),
        (InSet(("2026-01-01",)), "day", [date(2026, 1, 1)], [date(2026, 1, 2), "2026-01-01"]),
        (MatchesRegex(r"ord_\d+"), "text", ["ord_1", "ord_1x", None], ["xord_1", "", 7, b"ord_1"]),
        (MatchesRegex(r"ord_\d+\Z"), "text", ["ord_1"], ["ord_1x"]),
        (MatchesRegex(r"\d{4}", negated=True), "text", ["card", None], ["card 1234", 7]),
        (LengthBetween(1, 3), "text", ["a", "abc", None], ["", "abcd", 7]),
        (LengthBetween(1, None), "tags", [["a"], ("a",)], [[]]),
        (LengthBetween(None, 1), "tags", [[], ["a"]], [["a", "b"]]),
        (OfType((str,)), "text", ["", None], [1, b""]),
        (OfType((int,)), "number", [1, None], [True, 1.0]),
        (OfType((bool,)), "number", [True], [1]),
        (OfType((int, float)), "number", [1, 1.0], [True, "1"]),
    ],
)  # fmt: skip
def test_a_check_is_kept_and_broken_by(
    check: Check, column: str, kept: list[Any], not_kept: list[Any]
) -> None:
    for value in kept:
        assert not breaks(check, value, column), value
    for value in not_kept:
        assert breaks(check, value, column), value


def test_a_predicate_sees_the_whole_record_and_may_return_anything() -> None:
    dear = Rule("dear", Holds(lambda record: record["amount"] and record["text"]), None)

    assert broken([dear], {"amount": 1, "text": "yes"}) == []
    for record in ({"amount": 0, "text": "yes"}, {"amount": 1, "text": ""}, {"amount": None}):
        assert broken([dear], record) == ["dear"]


def test_a_predicate_that_raises_is_broken_not_skipped() -> None:
    torn = Rule("torn", Holds(lambda record: 1 / record["number"]), None)

    assert broken([torn], {"number": 1}) == []
    assert broken([torn], {"number": 0}) == ["torn"]
    assert broken([torn], {}) == ["torn"]


def test_a_predicate_that_meets_a_platform_fault_says_nothing_about_the_record() -> None:
    def ask(_record: Any) -> bool:
        raise DependencyError("the price list does not answer")

    rules = [Rule("text", NotNull(), "text"), Rule("price", Holds(ask), None)]

    for record in ({"text": "a"}, {"text": None}):
        with pytest.raises(DependencyError):
            broken(rules, record)


def test_a_field_that_a_record_lacks_is_null() -> None:
    rules = [
        Rule("there", NotNull(), "text"),
        Rule("gone", IsNull(), "text"),
        Rule("usual", Between(0, 1), "number"),
    ]

    class Bare(msgspec.Struct):
        tags: Any = None

    records: list[Any] = [{}, Bare()]
    for record in records:
        assert broken(rules, record) == ["there"]


def test_rules_are_broken_in_declared_order_whatever_is_tried_first() -> None:
    rules = [
        Rule("shape", MatchesRegex("a"), "text"),
        Rule("usual", Between(0, 1), "number"),
        Rule("there", NotNull(), "share"),
        Rule("known", InSet((1,)), "number"),
    ]

    assert broken(rules, {"text": "b", "number": 7, "share": None}) == [
        "shape",
        "usual",
        "there",
        "known",
    ]
    assert broken(rules, {"text": "b", "number": 1, "share": 0.0}) == ["shape"]


def test_without_rules_every_record_is_kept() -> None:
    assert broken([], {"text": object()}) == []


# Against a reference that looks at one rule at a time


def reference(rule: Rule, record: dict[str, Any]) -> bool:
    """Whether a record keeps a rule, as one would say it."""
    try:
        return holds(rule.check, record, record.get(rule.column or ""))
    except Exception:  # noqa: BLE001 - a rule that cannot be applied is broken
        return False


def holds(check: Check, record: dict[str, Any], value: Any) -> bool:
    match check:
        case NotNull():
            return value is not None
        case Holds(predicate):
            return bool(predicate(record))
        case IsNull():
            return value is None
    if value is None:
        return True
    match check:
        case Between(low, high, strict_low, strict_high):
            if isinstance(value, Decimal):
                low, high = (None if b is None else Decimal(str(b)) for b in (low, high))
            above = low is None or (value > low if strict_low else value >= low)
            return above and (high is None or (value < high if strict_high else value <= high))
        case InSet(values, negated):
            hash(value)
            return any(value == one for one in values) is not negated
        case MatchesRegex(pattern, False):
            return re.match(pattern, value) is not None
        case MatchesRegex(pattern, True):
            return re.search(pattern, value) is None
        case LengthBetween(low, high):
            return (low or 0) <= len(value) <= (len(value) if high is None else high)
        case OfType(types):
            return isinstance(value, types) and (bool in types or not isinstance(value, bool))
    raise AssertionError(check)


NUMBERS = st.integers(-3, 3) | st.sampled_from([0.5, -0.5, float("nan"), float("inf"), True, None])
TEXTS = st.text("ab1", max_size=3) | st.none() | st.binary(max_size=2) | st.integers(0, 1)
AMOUNTS = st.decimals(-3, 3, places=1) | st.sampled_from([Decimal("NaN"), None, "1", 1])
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "text": TEXTS,
        "number": NUMBERS,
        "share": NUMBERS,
        "amount": AMOUNTS,
        "tags": st.lists(TEXTS, max_size=3) | st.none() | st.just(7),
    },
)
BOUNDS = st.tuples(
    st.none() | st.integers(-3, 3), st.integers(-3, 3), st.booleans(), st.booleans()
).map(lambda parts: Between(*parts))
RULES = st.one_of(
    st.tuples(st.just("text"), st.sampled_from([NotNull(), IsNull()])),
    st.tuples(st.sampled_from(["number", "share", "amount"]), BOUNDS),
    st.tuples(st.just("number"), st.builds(InSet, st.just((0, 1, 2)), st.booleans())),
    st.tuples(
        st.just("text"),
        st.builds(MatchesRegex, st.sampled_from(["a", "b1?", "(ab)+", "$"]), st.booleans()),
    ),
    st.tuples(
        st.sampled_from(["text", "tags", "number"]),
        st.builds(LengthBetween, st.integers(0, 2), st.none() | st.integers(0, 2)),
    ),
    st.tuples(
        st.sampled_from(["text", "number", "amount"]),
        st.sampled_from([(str,), (int,), (bool,), (float, int), (Decimal,)]).map(OfType),
    ),
    st.tuples(st.none(), st.just(Holds(lambda record: record["number"] > 0))),
    st.tuples(st.sampled_from(["number", "share", "amount", "tags"]), st.just(NotNull())),
)  # fmt: skip


@given(st.lists(RULES, max_size=6), RECORDS)
def test_the_compiled_verdict_is_the_references(
    checks: list[tuple[str | None, Check]], record: dict[str, Any]
) -> None:
    rules = [Rule(f"rule{n}", check, column) for n, (column, check) in enumerate(checks)]

    expected = [rule.name for rule in rules if not reference(rule, record)]

    assert broken(rules, record) == expected


# What a broken rule's action does


def driver_with(*actions: Action) -> ProductDriver:
    rules = [
        Rule(f"{action.value}{n}", Between(None, n), "number", action)
        for n, action in enumerate(actions)
    ]
    applied = transformation(lambda record: record)
    return ProductDriver(product(contract(number="long"), port(applied), rules=rules))


def test_observe_and_warn_count_and_publish() -> None:
    driver = driver_with(Action.OBSERVE, Action.WARN)

    driver.send({"number": 5})

    assert driver.facts == [{"number": 5}]
    assert driver.tolerated == {"observe0": 1, "warn1": 1}


def test_dlq_rejects_and_names_every_rule_that_does_the_first_as_the_cause() -> None:
    driver = driver_with(Action.WARN, Action.DLQ, Action.OBSERVE, Action.DLQ)

    driver.send({"number": 5})

    (rejected,) = driver.rejected
    assert (rejected.fault_class, rejected.rule) == ("contract", "dlq1")
    assert rejected.reason == "breaks the quality rule dlq1, dlq3"
    assert driver.facts == []
    # What only warns is counted for facts that are published.
    assert driver.tolerated == {}


def test_fail_halts_whatever_else_is_broken() -> None:
    driver = driver_with(Action.DLQ, Action.WARN, Action.FAIL)

    driver.send({"number": 1})
    with pytest.raises(HaltError, match="breaks the rule fail2, whose action is `fail`"):
        driver.send({"number": 5})

    assert len(driver.rejected) == 1
