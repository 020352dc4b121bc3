"""The third stage: every quality rule of the product, compiled to one function.

A record that keeps every rule, the common one, costs one call and one expression. Only a record
that breaks something is judged rule by rule, to learn which. A rule that cannot be applied (the
value is of another type than the rule compares with) is broken, never skipped; a platform fault
that a predicate meets says nothing about the record and passes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from mesh_stream.errors import PlatformError
from mesh_stream.pipeline.shape import Shape
from mesh_stream.product.product import (
    Between,
    Contract,
    Holds,
    InSet,
    IsNull,
    LengthBetween,
    MatchesRegex,
    NotNull,
    OfType,
    Rule,
)

Judge = Callable[[Any], Sequence[Rule] | None]

_PASSES = (PlatformError, MemoryError)


@dataclass(frozen=True, slots=True)
class RulesSource:
    """Source code that says whether every rule holds, for records `r` of one type.

    Attributes:
        lines: Statements that come first.
        holds: An expression. Where it is false, or anything raises, a rule is broken.
        names: What they refer to.
    """

    lines: Sequence[str]
    holds: str
    names: Mapping[str, Any]


def rules_source(rules: Sequence[Rule], *, contract: Contract, shape: Shape) -> RulesSource:
    """Write what judges records of one type; as `compile_rules`."""
    names: dict[str, Any] = {}
    locals_: dict[str, str] = {}
    never_null = {rule.column for rule in rules if isinstance(rule.check, NotNull)}
    # Null checks come first: what follows them in the same expression needs none of its own.
    ordered = sorted(rules, key=lambda rule: not isinstance(rule.check, NotNull))
    together = [
        _expression(rule, index, contract, locals_, names, known=rule.column in never_null)
        for index, rule in enumerate(ordered)
    ]
    lines = [f"{local} = {shape.value(field, default='None')}" for field, local in locals_.items()]
    return RulesSource(lines, " and ".join(together) or "True", names)


def compile_rules(rules: Sequence[Rule], *, contract: Contract, shape: Shape) -> Judge:
    """Make the stage for records of one type.

    Args:
        rules: The product's rules.
        contract: The facts' schema; it says in which type bounds are compared.
        shape: How the record type's fields are read.

    Returns:
        `record -> None` where every rule holds, else the rules that it breaks, in declared order.
    """
    if not rules:
        return lambda _record: None
    together = rules_source(rules, contract=contract, shape=shape)
    source = "\n".join(
        [
            "def judge(r):",
            "  try:",
            *(f"    {line}" for line in together.lines),
            f"    if {together.holds}:",
            "      return None",
            "  except Exception:",
            "    pass",
            "  return _broken(r) or None",
        ]
    )
    broken = _one_by_one(rules, contract, shape)
    judge: Judge = _define(source, "judge", {**together.names, "_broken": broken})
    return judge


def _one_by_one(
    rules: Sequence[Rule], contract: Contract, shape: Shape
) -> Callable[[Any], list[Rule]]:
    judges = []
    for rule in rules:
        names: dict[str, Any] = {}
        locals_: dict[str, str] = {}
        expression = _expression(rule, 0, contract, locals_, names, known=False)
        lines = [
            f"  {local} = {shape.value(field, default='None')}" for field, local in locals_.items()
        ]
        source = "\n".join(["def holds(r):", *lines, f"  return {expression}"])
        judges.append((rule, _define(source, "holds", names)))

    def broken(record: Any) -> list[Rule]:
        found = []
        for rule, holds in judges:
            try:
                if holds(record):
                    continue
            except _PASSES:
                raise
            except Exception:  # noqa: BLE001, S110 - a rule that cannot be applied is broken
                pass
            found.append(rule)
        return found

    return broken


def _expression(
    rule: Rule,
    index: int,
    contract: Contract,
    locals_: dict[str, str],
    names: dict[str, Any],
    *,
    known: bool,
) -> str:
    """One rule as an expression over locals; `known` says that a null was ruled out before."""

    def constant(value: Any) -> str:
        name = f"_k{index}_{len(names)}"
        names[name] = value
        return name

    check = rule.check
    if isinstance(check, Holds):
        return f"{constant(check.predicate)}(r)"
    assert rule.column is not None
    x = locals_.setdefault(rule.column, f"v{len(locals_)}")
    schema = contract.fields.get(rule.column)
    match check:
        case NotNull():
            return f"{x} is not None"
        case IsNull():
            return f"{x} is None"
        case Between():
            low = "" if check.minimum is None else constant(comparable(check.minimum, schema))
            high = "" if check.maximum is None else constant(comparable(check.maximum, schema))
            low_sign = "<" if check.strict_minimum else "<="
            high_sign = "<" if check.strict_maximum else "<="
            test = f"{low} {low_sign} {x}" if low else x
            if high:
                test = f"{test} {high_sign} {high}"
        case InSet():
            values = frozenset(comparable(value, schema) for value in check.values)
            test = f"{x} {'not in' if check.negated else 'in'} {constant(values)}"
        case MatchesRegex():
            pattern = re.compile(check.pattern)
            # What must be there stands at the start; what may not be there may be nowhere.
            find = constant(pattern.search if check.negated else pattern.match)
            test = f"not {find}({x})" if check.negated else f"{find}({x})"
        case LengthBetween():
            low = "" if check.minimum is None else f"{check.minimum} <= "
            high = "" if check.maximum is None else f" <= {check.maximum}"
            test = f"{low}len({x}){high}"
        case OfType():
            test = f"isinstance({x}, {constant(check.types)})"
            if bool not in check.types:
                # A bool is an int to Python, to nobody else.
                test = f"({test} and {x}.__class__ is not bool)"
    return f"({test})" if known else f"({x} is None or {test})"


def comparable(bound: Any, schema: Any) -> Any:
    """A declared bound or value in the type that the field's values have.

    YAML and Python authors write `0.1`, `"2026-01-01T00:00:00Z"` and mean a decimal, a timestamp.
    """
    match logical_type(schema):
        case "decimal" if not isinstance(bound, Decimal):
            return Decimal(str(bound))
        case "timestamp-millis" | "timestamp-micros" if isinstance(bound, str):
            return datetime.fromisoformat(bound)
        case "date" if isinstance(bound, str):
            return date.fromisoformat(bound)
        case "time-millis" | "time-micros" if isinstance(bound, str):
            return time.fromisoformat(bound)
        case _:
            return bound


def logical_type(schema: Any) -> str | None:
    """The logical type of a field's schema, looking through a union with null."""
    if isinstance(schema, list):
        kinds = [branch for branch in schema if branch != "null"]
        schema = kinds[0] if len(kinds) == 1 else None
    if isinstance(schema, dict):
        if isinstance(schema.get("type"), dict):
            return logical_type(schema["type"])
        logical: str | None = schema.get("logicalType")
        return logical
    return None


def _define(source: str, name: str, names: dict[str, Any]) -> Any:
    scope = dict(names)
    # The source is built from field names that Avro's grammar limits to identifiers and from
    # constants passed by reference; nothing of a record or a declared value is in it.
    exec(compile(source, f"<rules: {name}>", "exec"), scope)  # noqa: S102
    return scope[name]
