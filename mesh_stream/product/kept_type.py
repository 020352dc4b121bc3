"""Whether what is of a type can be kept as bytes: states in the changelog, events on topics.

Both are read by their type alone. So it must say everything: what it leaves open comes back as
something else (a decimal as text), and what happens at each reading would happen again and again.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import NODEFAULT, UnsetType
from msgspec import inspect as kinds

from mesh_stream.product.state_type import class_of, parts_of

_JSON_KEYS = (
    kinds.StrType | kinds.IntType | kinds.FloatType | kinds.DecimalType | kinds.UUIDType
    | kinds.DateTimeType | kinds.DateType | kinds.TimeType | kinds.EnumType | kinds.LiteralType
    | kinds.AnyType
)  # fmt: skip
_CONSTRAINTS = (
    "gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern", "tz",
)  # fmt: skip


def unkept(kept: Any, *, event: bool = False) -> list[str]:
    """Returns why values of a type do not come back from their bytes as they were; empty: they do.

    Args:
        kept: The type of states, which are msgpack. It has no constraints (`msgspec.Meta`): these
            are checked when a value is read, not when it is written, so that a state might never
            be read again.
        event: Whether it is that of events. They come from outside, so it may have constraints; and
            they pass through topics as JSON, in which every key is text.
    """
    try:
        root = kinds.type_info(kept)
        msgspec.msgpack.Decoder(kept)
    except Exception as cause:  # noqa: BLE001  the type's own code may raise anything
        return [f"msgspec cannot read it: {cause}"]
    found: list[str] = []
    for place, node in parts_of(root):
        where = f" in {place}" if place else ""
        match node:
            case kinds.AnyType():
                found.append(f"something of no stated type{where}")
            case kinds.CustomType() if hasattr(node.cls, "model_validate_json"):
                found.append(f"the pydantic model {node.cls.__name__}{where}")
            case kinds.CustomType() | kinds.RawType() | kinds.ExtType() | kinds.MemoryViewType():
                name = getattr(node, "cls", type(node)).__name__.removesuffix("Type")
                found.append(f"{name}{where}, which msgspec does not keep")
            case kinds.StructType() | kinds.DataclassType():
                found += [f"{reason}{where}" for reason in _reread(node, event=event)]
            case kinds.DictType() if event and not isinstance(node.key_type, _JSON_KEYS):
                found.append(f"keys{where} that JSON cannot hold")
            case _ if not event and any(
                getattr(node, name, None) is not None for name in _CONSTRAINTS
            ):
                found.append(f"a constraint{where}: checked when read, but not when written")
    return found


def _reread(node: kinds.StructType | kinds.DataclassType, *, event: bool) -> Iterator[str]:
    """Yields what of a record would be something else once it is read."""
    kind = class_of(node)
    if not event and hasattr(kind, "__post_init__"):
        yield f"a __post_init__, which would run again at each reading of a {kind.__name__}"
    hints = typing.get_type_hints(kind)
    is_array = isinstance(node, kinds.StructType) and node.array_like
    for part in node.fields:
        # UNSET is a field left out; as a default, msgspec says of it that there is none.
        has_own = part.default is not NODEFAULT or part.default_factory is not NODEFAULT
        if UnsetType in typing.get_args(hints[part.name]) and (
            is_array or part.required or has_own
        ):
            yield f"an UNSET that would not be read as such from {part.encode_name}"
