from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mesh_stream.errors import Fault
from mesh_stream.product.product import (
    Action,
    Between,
    Check,
    Dimension,
    Holds,
    InSet,
    IsNull,
    LengthBetween,
    MatchesRegex,
    NotNull,
    OfType,
)
from mesh_stream.product.recorder import RecordedRule, Recorder, call_checks
from mesh_stream.product.rules import DIMENSIONS, Expectations
from mesh_stream.quality import data_quality_check, expect

Checked = Callable[[Any], object]
HERE = Path(__file__)


def record(check: Checked) -> Recorder:
    recorder = Recorder(Path("checks.py"), str(HERE))
    call_checks(recorder, [check])
    return recorder


def rule_of(check: Checked) -> RecordedRule:
    recorder = record(check)
    assert recorder.faults == []
    (rule,) = recorder.rules
    return rule


def fault_of(check: Checked) -> Fault:
    (fault,) = record(check).faults
    return fault


def is_round(fact: Any) -> bool:
    return bool(fact["amount"] == round(fact["amount"]))


@pytest.mark.parametrize(
    ("check", "said", "short"),
    [
        (lambda df: expect(df).column_values_to_not_be_null("a"), NotNull(), "not_null"),
        (lambda df: expect(df).column_values_to_be_null("a"), IsNull(), "null"),
        (lambda df: expect(df).column_values_to_be_between("a", 0, 9), Between(0, 9), "between"),
        (lambda df: expect(df).column_values_to_be_between("a", min_value=Decimal("0.1")),
         Between(Decimal("0.1"), None), "between"),
        (lambda df: expect(df).column_values_to_be_between("a", max_value=9, strict_max=True),
         Between(None, 9, strict_maximum=True), "between"),
        (lambda df: expect(df).column_values_to_be_between("a", 1, 2, strict_min=True),
         Between(1, 2, strict_minimum=True), "between"),
        (lambda df: expect(df).column_values_to_be_in_set("a", ["x", "y"]), InSet(("x", "y")),
         "in_set"),
        (lambda df: expect(df).column_values_to_not_be_in_set("a", ("x",)),
         InSet(("x",), negated=True), "not_in_set"),
        (lambda df: expect(df).column_values_to_match_regex("a", "x+"), MatchesRegex("x+"),
         "match_regex"),
        (lambda df: expect(df).column_values_to_not_match_regex("a", regex="x"),
         MatchesRegex("x", negated=True), "not_match_regex"),
        (lambda df: expect(df).column_value_lengths_to_be_between("a", 1, 9), LengthBetween(1, 9),
         "length_between"),
        (lambda df: expect(df).column_value_lengths_to_equal("a", 5), LengthBetween(5, 5),
         "length_equal"),
        (lambda df: expect(df).column_values_to_be_of_type("a", "decimal"), OfType((Decimal,)),
         "of_type"),
    ],
)  # fmt: skip
def test_each_word_of_the_vocabulary_is_recorded(check: Checked, said: Check, short: str) -> None:
    rule = rule_of(check)

    assert (rule.column, rule.check, rule.short, rule.name) == ("a", said, short, None)
    assert (rule.action, rule.dimension) == (Action.DLQ, DIMENSIONS[short])


def test_a_predicate_over_the_record_is_named_after_its_function() -> None:
    rule = rule_of(lambda df: expect(df).record_to_satisfy(is_round))

    assert (rule.name, rule.column, rule.check) == ("is_round", None, Holds(is_round))
    assert rule.dimension is Dimension.CONSISTENCY


def test_a_predicate_may_be_given_a_name() -> None:
    rule = rule_of(lambda df: expect(df).record_to_satisfy(lambda fact: bool(fact), name="truthy"))

    assert rule.name == "truthy"


def test_name_action_and_dimension_may_be_said() -> None:
    rule = rule_of(
        lambda df: expect(df).column_values_to_not_be_null(
            "a", name="has_a", action="warn", dimension="timeliness"
        )
    )

    assert (rule.name, rule.action, rule.dimension) == ("has_a", Action.WARN, Dimension.TIMELINESS)


def test_each_word_has_a_usual_dimension() -> None:
    assert DIMENSIONS["not_null"] is Dimension.COMPLETENESS
    assert DIMENSIONS["between"] is Dimension.ACCURACY
    assert DIMENSIONS["match_regex"] is Dimension.CONFORMITY


@pytest.mark.parametrize(
    ("check", "found", "help_text"),
    [
        (lambda df: expect(df).column_values_to_be_unique("a"), "not offered", "cleanup.policy"),
        (lambda df: expect(df).expect_compound_columns_to_be_unique(["a"]), "not offered",
         "one at a time"),
        (lambda df: expect(df).table_row_count_to_be_between(1, 2), "not offered", "one at a time"),
        (lambda df: expect(df).column_values_to_be_betwen("a", 1), "the unknown rule",
         "did you mean column_values_to_be_between?"),
        (lambda df: expect(df).expect_column_values_to_not_be_null("a"), "the unknown rule",
         "did you mean column_values_to_not_be_null?"),
        (lambda df: expect(df).column_values_to_not_be_null("a", mostly=0.9), "mostly=0.9",
         "action=warn"),
        (lambda df: expect(df).column_values_to_not_be_null("a", action="drop"), "action='drop'",
         "observe, warn, dlq, fail"),
        (lambda df: expect(df).column_values_to_not_be_null("a", dimension="good"),
         "dimension='good'", "completeness"),
        (lambda df: expect(df).column_values_to_not_be_null("a", nmae="x"), "the unknown option",
         "did you mean name?"),
        (lambda df: expect(df).column_values_to_not_be_null("a", meta={}), "the unknown option",
         "name, action, dimension"),
        (lambda df: expect(df).column_values_to_not_be_null(["a"]), "list as a column",  # type: ignore[arg-type]
         "the name of one field"),
        (lambda df: expect(df).column_values_to_not_be_null("a", name=3), "3 as a name", "text"),
        (lambda df: expect(df).column_values_to_be_of_type("a", "str"), "the type 'str'",
         "did you mean string?"),
        (lambda df: expect(df).record_to_satisfy(lambda fact: bool(fact)), "without a name",
         "name="),
        (lambda df: expect(df).record_to_satisfy("total > 0"), "str as a predicate", "a function"),
        (lambda df: expect(df).column_values_to_be_between(), "TypeError", "one argument"),  # type: ignore[call-arg]
        (lambda df: expect(df).column_values_to_be_in_set("a", "xyz"), "one text", ""),
        (lambda df: expect(str(df)).column_values_to_be_null("a"), "mesh_stream.testing", ""),
    ],
)  # fmt: skip
def test_what_is_not_in_the_vocabulary_says_why_and_what_else(
    check: Checked, found: str, help_text: str
) -> None:
    fault = fault_of(check)

    assert found in fault.found
    assert help_text in f"{fault.found} {fault.expected} {fault.remedy}"
    assert fault.line > 0


@pytest.mark.parametrize(
    "look",
    [
        lambda df: df["amount"],
        lambda df: df.amount,
        lambda df: len(df),
        lambda df: list(df),
        lambda df: "a" in df,
        lambda df: df == 3,
        lambda df: df != 3,
        lambda df: df > 3,
        lambda df: bool(df),
        lambda df: 1 if df else 2,
        lambda df: df.__setitem__("a", 1),
        lambda df: df.head(5),
        lambda df: setattr(df, "a", 1),
        lambda df: df.__delitem__("a"),
        lambda df: hash(df),
    ],
)
def test_a_check_that_looks_at_data_is_told_that_there_is_none(look: Checked) -> None:
    def check(df: Any) -> None:
        expect(df).column_values_to_not_be_null("a")
        look(df)

    recorder = record(check)

    assert len(recorder.rules) == 1
    (fault,) = recorder.faults
    assert fault.line > 0
    if "TypeError" not in fault.found:
        assert "a check runs once, at load" in fault.expected


def test_a_check_that_swallows_the_complaint_keeps_the_fault() -> None:
    def check(df: Any) -> None:
        try:
            df["a"]
        except BaseException:  # noqa: BLE001 - as careless authors do
            expect(df).column_values_to_not_be_null("a")

    recorder = record(check)

    assert "df['a'] in a check" in recorder.faults[0].found


def test_a_check_goes_on_after_a_faulty_rule() -> None:
    def check(df: Any) -> None:
        expect(df).column_values_to_be_unique("a")
        expect(df).column_values_to_not_be_null("a", mostly=1)
        expect(df).column_values_to_be_null("b")

    recorder = record(check)

    assert len(recorder.faults) == 2
    assert [rule.column for rule in recorder.rules] == ["b"]


def test_a_check_that_says_nothing_is_a_fault() -> None:
    def check(df: Any) -> None: ...

    fault = fault_of(check)

    assert fault.found == "no rule"


def test_a_check_that_raises_is_a_fault_at_its_line() -> None:
    def check(df: Any) -> None:
        raise RuntimeError("no")

    fault = fault_of(check)

    assert fault.found == "RuntimeError: no"
    assert fault.line == check.__code__.co_firstlineno + 1


def test_a_check_that_leaves_the_process_does_not() -> None:
    def check(df: Any) -> None:
        raise SystemExit(0)

    assert fault_of(check).found == "SystemExit: 0"


def test_an_async_check_and_one_that_yields_are_refused() -> None:
    async def waits(df: Any) -> None:
        expect(df).column_values_to_be_null("a")

    def yields(df: Any) -> Any:
        expect(df).column_values_to_be_null("a")
        yield

    assert fault_of(waits).found == "a check that is async or yields"
    assert fault_of(yields).found == "a check that is async or yields"


def test_each_rule_knows_its_line() -> None:
    def check(df: Any) -> None:
        expect(df).column_values_to_be_null("a")
        expect(df).column_values_to_be_null("b")

    first, second = record(check).rules

    assert first.line == check.__code__.co_firstlineno + 1
    assert second.line == first.line + 1


def test_a_rule_said_in_a_function_of_another_file_is_at_the_line_that_called_it() -> None:
    namespace: dict[str, Any] = {"expect": expect}
    exec(  # a sibling's function, as an import would bring it
        compile("def no_nulls(df): expect(df).column_values_to_not_be_null('a')", "x.py", "exec"),
        namespace,
    )

    def check(df: Any) -> None:
        namespace["no_nulls"](df)

    assert rule_of(check).line == check.__code__.co_firstlineno + 1


def test_the_decorator_leaves_the_function_as_it_is() -> None:
    def check(df: Any) -> str:
        return "x"

    assert data_quality_check(check) is check
    assert check(None) == "x"


def test_expecting_of_real_data_points_to_the_test_driver() -> None:
    with pytest.raises(TypeError, match=re.escape("mesh_stream.testing")):
        expect([1, 2])


def test_the_vocabulary_is_that_of_great_expectations_without_its_first_word() -> None:
    words = {word for word in dir(Expectations) if not word.startswith("_")}

    assert words == {
        "column_values_to_not_be_null",
        "column_values_to_be_null",
        "column_values_to_be_between",
        "column_values_to_be_in_set",
        "column_values_to_not_be_in_set",
        "column_values_to_match_regex",
        "column_values_to_not_match_regex",
        "column_value_lengths_to_be_between",
        "column_value_lengths_to_equal",
        "column_values_to_be_of_type",
        "record_to_satisfy",
    }
