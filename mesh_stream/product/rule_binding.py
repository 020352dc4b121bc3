"""Holds rules against the contract: a rule that could never be judged is refused at load.

Here rules said in code and rules written in `data_product.yaml` meet, are named, and are checked
against the type of their column. A rule that no record can keep, or that no record can break by
its type alone, is a mistake of its author, not of the data.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from mesh_stream.errors import DeclarationError, Fault
from mesh_stream.product.inline_rules import (
    BetweenRule,
    FileItem,
    InlineRule,
    LengthRule,
    NullRule,
    RegexRule,
    SetRule,
    TypeRule,
)
from mesh_stream.product.product import (
    Between,
    Check,
    Contract,
    InSet,
    IsNull,
    LengthBetween,
    MatchesRegex,
    NotNull,
    OfType,
    Rule,
)
from mesh_stream.product.recorder import RecordedRule
from mesh_stream.product.regex_lint import regex_problem
from mesh_stream.product.rules import DIMENSIONS, PYTHON_TYPES
from mesh_stream.product.schema import in_words
from mesh_stream.product.validation import did_you_mean, one_of
from mesh_stream.product.yaml_source import Document, dotted, shown

# The words by which the path itself says why a record was rejected; a rule called the same would
# share their series in the metrics.
RESERVED = frozenset(
    {
        "early",
        "empty",
        "event_time",
        "fanout",
        "framing",
        "key",
        "late",
        "malformed",
        "oversize",
        "schema",
        "schema_incompatible",
        "state",
        "tombstone",
        "trailing_bytes",
        "transformation",
        "type",
        "unknown_schema",
        "unsafe_schema",
    }
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_ISO: Mapping[str, Any] = {
    "timestamp-millis": datetime,
    "timestamp-micros": datetime,
    "date": date,
    "time-millis": time,
    "time-micros": time,
}
_NUMBERS = frozenset({"int", "long", "float", "double", "decimal"})


def inline_rules(
    document: Document, items: Sequence[FileItem | InlineRule]
) -> tuple[RecordedRule, ...]:
    """Returns the rules that stand in `data_product.yaml`.

    Raises:
        DeclarationError: A type is unknown.
    """
    recorded: list[RecordedRule] = []
    faults: list[Fault] = []
    for index, item in enumerate(items):
        if isinstance(item, FileItem):
            continue
        place = ("data_product", "quality", index)
        if isinstance(item, TypeRule) and item.type not in PYTHON_TYPES:
            remedy = did_you_mean(item.type, PYTHON_TYPES)
            fault = document.fault((*place, "type"), shown(item.type), one_of(PYTHON_TYPES), remedy)
            faults.append(fault)
            continue
        recorded.append(
            RecordedRule(
                path=document.path,
                line=document.line(place),
                field=dotted(place),
                short=item.rule,
                name=item.name,
                column=item.column,
                check=_check(item),
                action=item.action,
                dimension=item.dimension or DIMENSIONS[item.rule],
            )
        )
    if faults:
        raise DeclarationError(faults)
    return tuple(recorded)


def _check(item: InlineRule) -> Check:
    match item:
        case NullRule():
            return NotNull() if item.rule == "not_null" else IsNull()
        case BetweenRule():
            return Between(item.min, item.max, item.strict_min, item.strict_max)
        case SetRule():
            return InSet(tuple(item.values), negated=item.rule == "not_in_set")
        case RegexRule():
            return MatchesRegex(item.regex, negated=item.rule == "not_match_regex")
        case LengthRule():
            return LengthBetween(item.min, item.max)
        case TypeRule():
            return OfType(PYTHON_TYPES[item.type])


def bind(recorded: Iterable[RecordedRule], contract: Contract | None) -> tuple[Rule, ...]:
    """Returns the rules, named and checked against the contract; their names only without one.

    Raises:
        DeclarationError: A name stands twice, or a rule does not fit its column.
    """
    said = tuple(recorded)
    faults = [*_name_faults(said)]
    for rule in said:
        if rule.column is None or contract is None:
            continue
        if rule.column not in contract.fields:
            found = f"the column {rule.column}"
            remedy = did_you_mean(rule.column, contract.fields)
            faults.append(rule.fault(found, one_of(contract.fields), remedy))
            continue
        faults += _misfits(rule, contract.fields[rule.column])
    if faults:
        raise DeclarationError(faults)
    return tuple(
        Rule(name, rule.check, rule.column, rule.action, rule.dimension)
        for rule, name in zip(said, _names(said), strict=True)
    )


def _names(said: Sequence[RecordedRule]) -> Iterator[str]:
    """Names what has no name: column and rule, numbered from the second on."""
    taken = {rule.name for rule in said if rule.name is not None}
    for rule in said:
        if rule.name is not None:
            yield rule.name
            continue
        plain = f"{rule.column}_{rule.short}"
        name, number = plain, 1
        while name in taken:
            number += 1
            name = f"{plain}_{number}"
        taken.add(name)
        yield name


def _name_faults(said: Sequence[RecordedRule]) -> Iterator[Fault]:
    counted = Counter(rule.name for rule in said if rule.name is not None)
    for rule in said:
        if rule.name is None:
            continue
        if not _NAME.fullmatch(rule.name):
            expected = "up to 100 letters, digits, underscores and dashes: a metric label"
            yield rule.fault(f"the rule name {rule.name!r}", expected)
        elif rule.name in RESERVED:
            expected = "a name that the path does not use itself"
            yield rule.fault(f"the rule name {rule.name!r}", expected, "say what the rule asks for")
        elif counted[rule.name] > 1:
            yield rule.fault(f"the rule name {rule.name!r} more than once", "each name once")


def _misfits(rule: RecordedRule, schema: Any) -> Iterator[Fault]:
    """Yields why a rule cannot be judged on values of this type."""
    kind, nullable = kind_of(schema)
    of = f"{rule.column}, which is {in_words(schema)}"
    match rule.check:
        case IsNull() if not nullable:
            yield rule.fault(f"null expected of {of}", "a column that may be null")
        case Between() as check:
            yield from _between_faults(rule, check, kind, of)
        case InSet() as check:
            yield from _set_faults(rule, check, kind, schema, of)
        case MatchesRegex() as check:
            if kind not in ("string", "enum"):
                yield rule.fault(f"a regular expression for {of}", "a text column")
            problem = regex_problem(check.pattern)
            if problem is not None:
                yield rule.fault(*problem)
        case LengthBetween() as check:
            yield from _length_faults(rule, check, kind, of)
        case OfType() as check if kind in _PYTHON and _PYTHON[kind] not in check.types:
            words = " or ".join(kind.__name__ for kind in check.types)
            yield rule.fault(f"the type {words} for {of}", "the column's own type")
        case _:
            return


_PYTHON: Mapping[str, type] = {
    "string": str,
    "int": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": bool,
    "bytes": bytes,
    "decimal": Decimal,
    "timestamp-millis": datetime,
    "timestamp-micros": datetime,
    "date": date,
    "time-millis": time,
    "time-micros": time,
}


def kind_of(schema: Any) -> tuple[str, bool]:
    """Returns the one word for a type (the logical one, if it has one), and if it is nullable."""
    if isinstance(schema, list):
        kinds = [branch for branch in schema if branch != "null"]
        kind = kind_of(kinds[0])[0] if len(kinds) == 1 else "union"
        return kind, "null" in schema
    if isinstance(schema, dict):
        return str(schema.get("logicalType") or kind_of(schema["type"])[0]), False
    return str(schema), schema == "null"


def _between_faults(rule: RecordedRule, check: Between, kind: str, of: str) -> Iterator[Fault]:
    bounds = [bound for bound in (check.minimum, check.maximum) if bound is not None]
    if not bounds:
        yield rule.fault("between without a bound", "a lower bound, an upper bound, or both")
        return
    if kind not in _NUMBERS and kind not in _ISO and kind != "string":
        yield rule.fault(f"between for {of}", "a number, a date or time, or a text column")
        return
    read = [_comparable(bound, kind) for bound in bounds]
    for bound, comparable in zip(bounds, read, strict=True):
        if comparable is None:
            yield rule.fault(f"the bound {shown(bound)} for {of}", _EXAMPLES.get(kind, "a number"))
    if None in read or len(read) < 2:
        return
    low, high = read
    if low > high or (low == high and (check.strict_minimum or check.strict_maximum)):
        found = f"no value between {shown(bounds[0])} and {shown(bounds[1])}"
        yield rule.fault(found, "a lower bound below the upper one")


_EXAMPLES = {
    "string": "a text",
    "enum": "a symbol of the enum",
    "boolean": "true or false",
    "timestamp-millis": "a moment with its offset, such as 2026-01-31T00:00:00Z",
    "timestamp-micros": "a moment with its offset, such as 2026-01-31T00:00:00Z",
    "date": "a date, such as 2026-01-31",
    "time-millis": "a time, such as 08:30:00",
    "time-micros": "a time, such as 08:30:00",
}


def _comparable(value: Any, kind: str) -> Any:
    """Returns a bound as what it is compared as, or None where it is of another type."""
    if kind in _NUMBERS:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            return None
        number = Decimal(str(value))
        return number if number.is_finite() else None
    if kind in _ISO:
        if isinstance(value, str):
            try:
                value = _ISO[kind].fromisoformat(value)
            except ValueError:
                return None
        exact = type(value) is _ISO[kind]
        zoned = not isinstance(value, datetime) or value.tzinfo is not None
        return value if exact and zoned else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    return value if isinstance(value, str) else None


def _set_faults(
    rule: RecordedRule, check: InSet, kind: str, schema: Any, of: str
) -> Iterator[Fault]:
    if not check.values:
        yield rule.fault("an empty set", "at least one value")
    known = kind in _NUMBERS or kind in _ISO or kind in ("string", "enum", "boolean")
    if not known:
        yield rule.fault(f"a set for {of}", "a number, a text, a boolean, a date or time column")
        return
    for value in check.values:
        if _comparable(value, kind) is None:
            yield rule.fault(f"{shown(value)} in a set for {of}", _EXAMPLES.get(kind, "a number"))
        elif kind == "enum" and value not in (symbols := _symbols(schema)):
            remedy = did_you_mean(str(value), symbols)
            yield rule.fault(f"{shown(value)} in a set for {of}", one_of(symbols), remedy)


def _symbols(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return next(_symbols(branch) for branch in schema if branch != "null")
    symbols: list[str] = schema.get("symbols") or _symbols(schema["type"])
    return symbols


def _length_faults(rule: RecordedRule, check: LengthBetween, kind: str, of: str) -> Iterator[Fault]:
    if kind not in ("string", "enum", "bytes", "fixed", "array", "map"):
        yield rule.fault(f"a length for {of}", "a text, bytes, array or map column")
    bounds = [bound for bound in (check.minimum, check.maximum) if bound is not None]
    if not bounds:
        yield rule.fault("a length without a bound", "a least length, a greatest, or both")
    wrong = [b for b in bounds if not isinstance(b, int) or isinstance(b, bool) or b < 0]
    for bound in wrong:
        yield rule.fault(f"the length {shown(bound)}", "a whole number, 0 or more")
    if len(bounds) == 2 and not wrong and bounds[0] > bounds[1]:
        found = f"no length between {bounds[0]} and {bounds[1]}"
        yield rule.fault(found, "a least length below the greatest")
