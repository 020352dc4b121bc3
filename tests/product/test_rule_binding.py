from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mesh_stream.product.declaration import ProductDocument
from mesh_stream.product.fields import avro_type
from mesh_stream.product.product import (
    Action,
    Between,
    Check,
    Contract,
    Dimension,
    Holds,
    InSet,
    IsNull,
    LengthBetween,
    MatchesRegex,
    NotNull,
    OfType,
    Rule,
)
from mesh_stream.product.recorder import RecordedRule
from mesh_stream.product.rule_binding import RESERVED, bind, inline_rules, kind_of
from mesh_stream.product.validation import validated
from mesh_stream.product.yaml_source import parse_yaml
from tests.product.seed import declaration, faults_of, the_fault_of

ENUM = {"type": "enum", "name": "State", "symbols": ["NEW", "PAID"]}
FIELDS: dict[str, Any] = {
    "text": "string",
    "note": ["null", "string"],
    "whole": "long",
    "real": "double",
    "amount": avro_type("decimal(18,2)"),
    "moment": avro_type("timestamp"),
    "day": avro_type("date"),
    "hour": avro_type("time"),
    "flag": "boolean",
    "raw": "bytes",
    "state": ENUM,
    "maybe_state": ["null", ENUM],
    "uuid": avro_type("uuid"),
    "items": {"type": "array", "items": "string"},
    "extra": {"type": "map", "values": "string"},
    "either": ["string", "long"],
}
CONTRACT = Contract(schema={}, canonical="", name="R", fields=FIELDS, compatibility="BACKWARD")
CHECKS = Path("checks.py")


def said(
    check: Check, column: str | None = "text", name: str | None = None, *, short: str = "rule"
) -> RecordedRule:
    return RecordedRule(
        path=CHECKS,
        line=7,
        field="",
        short=short,
        name=name,
        column=column,
        check=check,
        action=Action.DLQ,
        dimension=Dimension.ACCURACY,
    )


def names(*rules: RecordedRule) -> list[str]:
    return [rule.name for rule in bind(rules, CONTRACT)]


GOOD: list[tuple[str, Check]] = [
    ("note", IsNull()),
    ("text", NotNull()),
    ("whole", Between(0, 10)),
    ("whole", Between(None, 0.5)),
    ("real", Between(0, Decimal("1.5"))),
    ("amount", Between(0, 0)),
    ("amount", Between(0.1, None, strict_minimum=True)),
    ("text", Between("a", "b")),
    ("moment", Between("2026-01-01T00:00:00Z", datetime(2027, 1, 1, tzinfo=UTC))),  # type: ignore[arg-type]
    ("day", Between("2026-01-01", date(2026, 1, 1))),  # type: ignore[arg-type]
    ("hour", Between("08:00:00", "18:00:00")),
    ("text", InSet(("a", "b"))),
    ("whole", InSet((1, 2))),
    ("amount", InSet((Decimal("1.10"), 2))),
    ("flag", InSet((True,))),
    ("state", InSet(("NEW",))),
    ("maybe_state", InSet(("NEW",), negated=True)),
    ("day", InSet(("2026-12-25",))),
    ("text", MatchesRegex("a+")),
    ("note", MatchesRegex("a+", negated=True)),
    ("state", MatchesRegex("N")),
    ("text", LengthBetween(0, 3)),
    ("items", LengthBetween(1, None)),
    ("extra", LengthBetween(None, 9)),
    ("raw", LengthBetween(16, 16)),
    ("text", OfType((str,))),
    ("amount", OfType((Decimal,))),
    ("moment", OfType((datetime,))),
    ("either", OfType((str,))),
]


@pytest.mark.parametrize(("column", "check"), GOOD, ids=str)
def test_a_rule_that_fits_its_column_is_bound(column: str, check: Check) -> None:
    assert bind([said(check, column)], CONTRACT) == (
        Rule(f"{column}_rule", check, column, Action.DLQ, Dimension.ACCURACY),
    )


BAD: list[tuple[str, Check, str]] = [
    ("text", IsNull(), "null expected of text"),
    ("whole", Between(None, None), "between without a bound"),
    ("whole", Between("0", 10), "the bound '0'"),
    ("whole", Between(True, None), "the bound true"),
    ("whole", Between(float("nan"), None), "the bound nan"),
    ("whole", Between(0, float("inf")), "the bound inf"),
    ("whole", Between(10, 0), "no value between 10 and 0"),
    ("whole", Between(1, 1, strict_minimum=True), "no value between 1 and 1"),
    ("whole", Between(1, 1, strict_maximum=True), "no value between 1 and 1"),
    ("text", Between(0, None), "the bound 0"),
    ("text", Between("b", "a"), "no value between"),
    ("moment", Between("2026-01-01T00:00:00", None), "the bound '2026-01-01T00:00:00'"),
    ("moment", Between(0, None), "the bound 0"),
    ("moment", Between("soon", None), "the bound 'soon'"),
    ("day", Between("2026-13-01", None), "the bound '2026-13-01'"),
    ("day", Between(datetime(2026, 1, 1, tzinfo=UTC), None), "the bound"),  # type: ignore[arg-type]
    ("flag", Between(0, 1), "between for flag"),
    ("items", Between(0, 1), "between for items"),
    ("state", Between("A", "B"), "between for state"),
    ("either", Between("A", "B"), "between for either"),
    ("text", InSet(()), "an empty set"),
    ("text", InSet(("a", 1)), "1 in a set for text"),
    ("text", InSet(("a", None)), "nothing in a set for text"),
    ("whole", InSet(("1",)), "'1' in a set for whole"),
    ("whole", InSet((True,)), "true in a set for whole"),
    ("flag", InSet((1,)), "1 in a set for flag"),
    ("state", InSet(("NEW", "GONE")), "'GONE' in a set for state"),
    ("items", InSet(("a",)), "a set for items"),
    ("raw", InSet((b"a",)), "a set for raw"),
    ("amount", MatchesRegex("a"), "a regular expression for amount"),
    ("uuid", MatchesRegex("a"), "a regular expression for uuid"),
    ("text", MatchesRegex("("), "the regular expression '('"),
    ("text", MatchesRegex("(a+)+$"), "in which a repeat matches one text in many ways"),
    ("text", MatchesRegex(3), "int as a regular expression"),  # type: ignore[arg-type]
    ("whole", LengthBetween(0, 1), "a length for whole"),
    ("text", LengthBetween(None, None), "a length without a bound"),
    ("text", LengthBetween(-1, None), "the length -1"),
    ("text", LengthBetween(True, None), "the length true"),
    ("text", LengthBetween(1.5, None), "the length 1.5"),  # type: ignore[arg-type]
    ("text", LengthBetween(5, 1), "no length between 5 and 1"),
    ("amount", OfType((float,)), "the type float for amount"),
    ("gone", NotNull(), "the column gone"),
]


@pytest.mark.parametrize(("column", "check", "found"), BAD, ids=str)
def test_a_rule_that_no_record_could_be_judged_by_is_a_fault(
    column: str, check: Check, found: str
) -> None:
    fault = the_fault_of(lambda: bind([said(check, column)], CONTRACT))

    assert found in fault.found
    assert (fault.path, fault.line) == (CHECKS, 7)


def test_a_misspelt_column_suggests_the_right_one() -> None:
    fault = the_fault_of(lambda: bind([said(NotNull(), "amuont")], CONTRACT))

    assert fault.remedy == "did you mean amount?"


def test_every_fault_of_every_rule_is_found_at_once() -> None:
    rules = [said(NotNull(), "gone"), said(Between(2, 1), "whole"), said(NotNull(), name="a b")]

    assert len(faults_of(lambda: bind(rules, CONTRACT))) == 3


def test_a_rule_without_a_name_is_called_after_column_and_check() -> None:
    assert names(said(NotNull(), "text", short="not_null")) == ["text_not_null"]


def test_equal_names_are_numbered_in_order_and_given_names_stay() -> None:
    assert names(
        said(Between(0, None), "whole", short="between"),
        said(Between(None, 9), "whole", short="between"),
        said(Between(None, 5), "whole", "whole_between_2"),
        said(Between(None, 7), "whole", short="between"),
    ) == ["whole_between", "whole_between_3", "whole_between_2", "whole_between_4"]


def test_a_name_given_twice_is_a_fault_of_both() -> None:
    rules = [said(NotNull(), name="same"), said(IsNull(), "note", name="same")]

    faults = {fault.found for fault in faults_of(lambda: bind(rules, CONTRACT))}

    assert faults == {"the rule name 'same' more than once"}


@pytest.mark.parametrize("name", ["", "a b", "1a", "a.b", "x" * 101, "a\n", 'a"'])
def test_a_name_that_is_no_label_is_a_fault(name: str) -> None:
    assert the_fault_of(lambda: bind([said(NotNull(), name=name)], CONTRACT))


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_the_words_of_the_path_itself_are_no_rule_names(name: str) -> None:
    assert the_fault_of(lambda: bind([said(NotNull(), name=name)], CONTRACT))


def test_the_words_that_the_path_uses_are_reserved() -> None:
    import re

    import mesh_stream.pipeline

    (folder,) = mesh_stream.pipeline.__path__
    used = {
        word
        for path in Path(folder).glob("*.py")
        for word in re.findall(r'rule="(\w+)"', path.read_text())
    }

    assert used <= RESERVED


def test_a_predicate_needs_no_column() -> None:
    (rule,) = bind([said(Holds(bool), None, "truthy")], CONTRACT)

    assert (rule.name, rule.column) == ("truthy", None)


def test_without_a_contract_names_are_checked_all_the_same() -> None:
    assert the_fault_of(lambda: bind([said(NotNull(), "gone", "a b")], None))
    assert bind([said(NotNull(), "gone", "fine")], None)


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ("string", ("string", False)),
        (["null", "long"], ("long", True)),
        (["long", "string", "null"], ("union", True)),
        ({"type": {"type": "string"}}, ("string", False)),
        (avro_type("decimal(4,2)?"), ("decimal", True)),
        (ENUM, ("enum", False)),
    ],
)
def test_the_kind_of_a_type(schema: Any, kind: tuple[str, bool]) -> None:
    assert kind_of(schema) == kind


# --- rules in data_product.yaml ------------------------------------------------------------------


def inline(text: str) -> tuple[RecordedRule, ...]:
    document = parse_yaml(Path("data_product.yaml"), declaration(more=f"quality:\n{text}"))
    declared = validated(document, ProductDocument).data_product
    return inline_rules(document, declared.quality)


@pytest.mark.parametrize(
    ("text", "check", "name"),
    [
        ("{rule: not_null, column: text}", NotNull(), "text_not_null"),
        ('{rule: "null", column: note}', IsNull(), "note_null"),
        ("{rule: between, column: whole, min: 0, max: 9}", Between(0, 9), "whole_between"),
        ("{rule: between, column: amount, min: 0.1, strict_min: true}",
         Between(0.1, None, strict_minimum=True), "amount_between"),
        ("{rule: in_set, column: text, values: [no, on]}", InSet(("no", "on")), "text_in_set"),
        ("{rule: not_in_set, column: whole, values: [1]}", InSet((1,), negated=True),
         "whole_not_in_set"),
        ("{rule: match_regex, column: text, regex: a+}", MatchesRegex("a+"), "text_match_regex"),
        ("{rule: not_match_regex, column: text, regex: a}", MatchesRegex("a", negated=True),
         "text_not_match_regex"),
        ("{rule: length_between, column: text, min: 1, max: 2}", LengthBetween(1, 2),
         "text_length_between"),
        ("{rule: of_type, column: text, type: string}", OfType((str,)), "text_of_type"),
    ],
)  # fmt: skip
def test_an_inline_rule_is_the_rule_that_code_would_say(text: str, check: Check, name: str) -> None:
    (rule,) = bind(inline(f"  - {text}"), CONTRACT)

    assert (rule.check, rule.name) == (check, name)


def test_an_inline_rule_knows_its_line_and_place() -> None:
    _, second = inline(
        "  - {rule: not_null, column: text}\n"
        "  - {rule: not_null, column: gone, action: warn, dimension: timeliness}"
    )

    fault = the_fault_of(lambda: bind([second], CONTRACT))

    assert (fault.line, fault.field) == (16, "data_product.quality[1]")
    assert (second.action, second.dimension) == (Action.WARN, Dimension.TIMELINESS)


def test_an_unknown_type_of_an_inline_rule_is_a_fault() -> None:
    fault = the_fault_of(lambda: inline("  - {rule: of_type, column: text, type: str}"))

    assert (fault.field, fault.remedy) == (
        "data_product.quality[0].type",
        "did you mean string?",
    )
