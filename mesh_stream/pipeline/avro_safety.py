"""Says which schemas a message could use against its reader.

A schema comes from whoever can write to the registry, and a message from whoever can write to the
topic. fastavro trusts both. A schema is safe if the work and memory that any message can cause
are bounded by the message's own size; it is looked at once, on first sight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_DEPTH = 32
MAX_VALUES = 2_000
MAX_PRECISION = 1_000

_PRIMITIVES = {
    "null": 0, "boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8, "bytes": 1, "string": 1,
}  # fmt: skip


def unsafe(schema: Any) -> str:
    """Say why a writer's schema is unsafe to decode with; empty where it is safe.

    Unsafe are: a named type inside itself (its depth is the message's to choose); an array whose
    items can be zero bytes long (their number is the message's to choose); a schema that is deeper
    than `MAX_DEPTH`, or whose value holds more than `MAX_VALUES` values beside those that arrays
    and maps repeat, each counted wherever its type is used (types that double each other cost
    nothing to write); and a decimal of more than `MAX_PRECISION` digits.
    """
    try:
        _Walk().measure(schema, "", 0)
    except _UnsafeError as problem:
        return str(problem)
    except RecursionError:
        return f"it is nested deeper than {MAX_DEPTH}"
    except Exception as error:  # noqa: BLE001 - JSON of any shape may call itself a schema
        return f"it is no Avro schema ({type(error).__name__})"
    return ""


class _UnsafeError(Exception):
    pass


@dataclass(frozen=True, slots=True)
class _Cost:
    """What the smallest value of a type takes, and what any value may grow to.

    Attributes:
        size: The fewest bytes (Avro specification, binary encoding).
        values: Values in it, not counting what arrays and maps repeat.
        depth: Levels below it.
    """

    size: int
    values: int = 1
    depth: int = 0


@dataclass(slots=True)
class _Walk:
    known: dict[str, _Cost] = field(default_factory=dict)
    open_names: list[str] = field(default_factory=list)

    def measure(self, schema: Any, namespace: str, depth: int) -> _Cost:
        cost = self._measure(schema, namespace, depth)
        if depth + cost.depth > MAX_DEPTH:
            raise _UnsafeError(f"it is nested deeper than {MAX_DEPTH}")
        if cost.values > MAX_VALUES:
            raise _UnsafeError(f"a value of it holds more than {MAX_VALUES} values")
        return cost

    def _measure(self, schema: Any, namespace: str, depth: int) -> _Cost:
        if depth > MAX_DEPTH:
            raise _UnsafeError(f"it is nested deeper than {MAX_DEPTH}")
        if isinstance(schema, list):
            branches = [self.measure(branch, namespace, depth + 1) for branch in schema]
            # A union writes its branch's index first, so that it is never empty.
            return _Cost(
                1 + min(branch.size for branch in branches),
                max(branch.values for branch in branches),
                1 + max(branch.depth for branch in branches),
            )
        if isinstance(schema, str):
            return (
                _Cost(_PRIMITIVES[schema])
                if schema in _PRIMITIVES
                else self._named(schema, namespace)
            )
        if "__fastavro_parsed" in schema:
            raise _UnsafeError("it claims to be parsed already")
        kind = schema["type"]
        match kind:
            case "array":
                items = self.measure(schema["items"], namespace, depth + 1)
                if items.size == 0:
                    raise _UnsafeError("it has an array of items that take no bytes")
                return _Cost(1, items.values, 1 + items.depth)
            case "map":
                values = self.measure(schema["values"], namespace, depth + 1)
                return _Cost(1, values.values, 1 + values.depth)
            case "record" | "error":
                return self._record(schema, namespace, depth)
            case "enum" | "fixed":
                return self._define(schema, namespace, _Cost(_size(schema)))
            case str():
                _check_decimal(schema)
                return self.measure(kind, namespace, depth)
            case _:
                return self.measure(kind, namespace, depth + 1)

    def _record(self, schema: Mapping[str, Any], namespace: str, depth: int) -> _Cost:
        name = _full_name(schema, namespace)
        self.open_names.append(name)
        size, values, deepest = 0, 1, 0
        for part in schema["fields"]:
            cost = self.measure(part["type"], name.rpartition(".")[0], depth + 1)
            size, values = size + cost.size, values + cost.values
            deepest = max(deepest, 1 + cost.depth)
            if values > MAX_VALUES:
                raise _UnsafeError(f"a value of it holds more than {MAX_VALUES} values")
        self.open_names.pop()
        return self._define(schema, namespace, _Cost(size, values, deepest))

    def _define(self, schema: Mapping[str, Any], namespace: str, cost: _Cost) -> _Cost:
        self.known[_full_name(schema, namespace)] = cost
        return cost

    def _named(self, name: str, namespace: str) -> _Cost:
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        for candidate in (full, name):
            if candidate in self.open_names:
                raise _UnsafeError(f"the type {candidate} contains itself")
            if candidate in self.known:
                return self.known[candidate]
        raise _UnsafeError(f"the type {name} is not defined")


def _size(schema: Mapping[str, Any]) -> int:
    if schema["type"] == "enum":
        return 1
    size = schema["size"]
    if type(size) is not int or size < 0:
        raise _UnsafeError("it has a fixed type without a size")
    _check_decimal(schema)
    return size


def _check_decimal(schema: Mapping[str, Any]) -> None:
    if schema.get("logicalType") == "decimal":
        for digits in (schema.get("precision", 1), schema.get("scale", 0)):
            if type(digits) is not int or not 0 <= digits <= MAX_PRECISION:
                raise _UnsafeError(f"it has a decimal of more than {MAX_PRECISION} digits")


def _full_name(schema: Mapping[str, Any], namespace: str) -> str:
    name: str = schema["name"]
    if "." in name:
        return name
    space = schema.get("namespace", namespace)
    return f"{space}.{name}" if space else name
