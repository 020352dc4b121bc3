from __future__ import annotations

import dataclasses
import enum
import json
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from mesh_stream.product.kept_type import unkept
from mesh_stream.product.state_type import (
    describe,
    fingerprint,
    is_immutable,
    misreadings,
)

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


class Frozen(msgspec.Struct, frozen=True):
    a: int
    lines: tuple[Line, ...] = ()


class Line(NamedTuple):
    sku: str
    units: Decimal


class Changing(msgspec.Struct):
    a: int


class Tree(msgspec.Struct, frozen=True):
    inside: tuple[Tree, ...] = ()


class Thaw(msgspec.Struct, frozen=True):
    inside: tuple[Thaw, ...] = ()
    held: Changing | None = None


class Box(msgspec.Struct, Generic[T], frozen=True):
    value: T


@dataclasses.dataclass(frozen=True)
class FrozenData:
    a: int


@dataclasses.dataclass
class Data:
    a: int


class Typed(TypedDict):
    a: int


class Maybe(msgspec.Struct):
    a: int | UnsetType = UNSET


# --- what cannot be changed ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kept", "is_so"),
    [
        (int, True), (Decimal, True), (datetime, True), (bytes, True), (Colour, True),
        (Literal["a"], True), (Frozen, True), (FrozenData, True), (Line, True), (Tree, True),
        (tuple[Frozen, ...], True), (tuple[int, str], True), (frozenset[str], True),
        (int | None, True), (Box[int], True),
        (bytearray, False), (list[int], False), (set[int], False), (dict[str, int], False),
        (Changing, False), (Data, False), (Typed, False), (Box[list[int]], False),
        (tuple[Changing, ...], False), (Frozen | list[int], False), (Thaw, False),
        (Sequence[int], False), (Mapping[str, int], False),
    ],
    ids=str,
)  # fmt: skip
def test_only_what_no_code_can_change_is_immutable(kept: Any, is_so: bool) -> None:
    assert is_immutable(kept) is is_so


# --- descriptions --------------------------------------------------------------------------------


def test_a_description_is_plain_data() -> None:
    for kept in (Frozen, Tree, Line, Typed, Maybe, Colour, dict[str, Box[int | None]]):
        assert json.loads(json.dumps(describe(kept))) == describe(kept)


def test_a_description_names_no_class() -> None:
    assert describe(Frozen) == {
        "version": 1,
        "type": {"kind": "record", "number": 0},
        "records": [
            {
                "form": "map",
                "fields": [
                    {"name": "a", "type": {"kind": "int"}, "required": True},
                    {
                        "name": "lines",
                        "type": {"kind": "list", "items": {"kind": "record", "number": 1}},
                        "default": "90",
                    },
                ],
            },
            {
                "form": "array",
                "closed": True,
                "fields": [
                    {"name": "sku", "type": {"kind": "str"}, "required": True},
                    {"name": "units", "type": {"kind": "Decimal"}, "required": True},
                ],
            },
        ],
    }


def test_a_fingerprint_is_short_and_tells_types_apart() -> None:
    assert fingerprint(describe(Changing)) == fingerprint(describe(Data))
    assert len(fingerprint(describe(Changing))) == 16
    assert fingerprint(describe(Changing)) != fingerprint(describe(Frozen))


def test_the_order_of_named_fields_does_not_matter() -> None:
    one = msgspec.defstruct("One", [("a", int), ("b", str)])
    two = msgspec.defstruct("Two", [("b", str), ("a", int)])

    assert fingerprint(describe(one)) == fingerprint(describe(two))


# --- evolution -----------------------------------------------------------------------------------


def record(*fields: Any, **options: Any) -> Any:
    return msgspec.defstruct("S", fields, **options)


def array(*fields: Any, **options: Any) -> Any:
    return record(*fields, array_like=True, **options)


def changed(old: Any, new: Any) -> list[str]:
    return misreadings(json.loads(json.dumps(describe(old))), describe(new))


A, B, C = (msgspec.defstruct(name, [("a", int)], tag=name) for name in "ABC")


class Pair(NamedTuple):
    a: int
    b: int


class Triple(NamedTuple):
    a: int
    b: int
    c: int = 0


class Lacking(TypedDict):
    a: NotRequired[int]


SAFE = [
    (int, int | None), (int, int | str), (str | None, None | str), (float, int | float),
    (int, int | float), (Decimal, Decimal | None), (datetime, datetime | None),
    (record(("a", int)), record(("a", int), ("b", str, ""))),
    (record(("a", int)), record(("a", int), ("b", str | None, None))),
    (record(("a", int), ("b", str)), record(("a", int))),
    (record(("a", int), ("b", str)), record(("b", str), ("a", int))),
    (record(("a", int, 3)), record(("a", int))),
    (record(("a", int, 3)), record(("a", int, 4))),
    (record(("a", int)), Data), (Data, Typed), (Typed, record(("a", int), frozen=True)),
    (record(("a", list[int])), record(("a", tuple[int, ...]))),
    (set[int], frozenset[int]), (bytes, bytearray),
    (record(("a", int, 3), omit_defaults=True), record(("a", int, 3))),
    (record(("a", list[int], msgspec.field(default_factory=list)), omit_defaults=True),
     record(("a", list[int], msgspec.field(default_factory=list)))),
    (Lacking, record(("a", int, 0))), (Maybe, record(("a", int | None, None))),
    (array(("a", int)), array(("a", int), ("b", str, ""))),
    (array(("a", int), ("b", str)), array(("a", int))),
    (Pair, Triple), (Literal["a"], Literal["a", "b"]), (Literal["red"], Colour),
    (Literal["red", None], Colour | None), (Level, Literal[1, 2]),
    (A | B, A | B | C), (A, A | B), (Tree, Tree),
    (Box[int], Box[int | None]), (dict[str, int], dict[str, int | None]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new"), SAFE, ids=range(len(SAFE)))
def test_what_loses_no_meaning_is_safe(old: Any, new: Any) -> None:
    assert changed(old, new) == []
    assert changed(list[old], list[new]) == []
    assert changed(Box[old], Box[new]) == []


@pytest.mark.parametrize(("old", "new"), SAFE, ids=range(len(SAFE)))
def test_what_is_safe_is_read_indeed(old: Any, new: Any) -> None:
    for value in values_of(old, random.Random(1), 20):
        msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=new)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (int, str, "the state was written as int and would be read as str"),
        (int, float, "the state was written as int and would be read as float"),
        (float, int, "the state was written as float and would be read as int"),
        (int | None, int, "the state was written as int | None and would be read as int"),
        (str, Decimal, "the state was written as str and would be read as Decimal"),
        (Decimal, str, "the state was written as Decimal and would be read as str"),
        (datetime, str, "the state was written as datetime and would be read as str"),
        (int, Decimal, "the state was written as int and would be read as Decimal"),
        (float, Decimal, "the state was written as float and would be read as Decimal"),
        (date, datetime, "the state was written as date and would be read as datetime"),
        (str, bytes, "the state was written as str and would be read as bytes"),
        (str, UUID, "the state was written as str and would be read as UUID"),
        (str, Colour, "the state was written as str and would be read as an enum"),
        (bool, int, "the state was written as bool and would be read as int"),
        (list[int], set[int], "the state was written as list and would be read as set"),
        (list[int], int, "the state was written as list and would be read as int"),
        (tuple[int, int], list[int], "the state was written as tuple and would be read as list"),
        (list[int], list[str], "the state[] was written as int and would be read as str"),
        (dict[str, int], dict[int, int],
         "the keys of the state was written as str and would be read as int"),
        (dict[str, int], dict[str, str], "the state[] was written as int and would be read as str"),
        (dict[str, int], Data, "the state was written as dict and would be read as a record"),
        (tuple[int, int], tuple[int, str],
         "the state[1] was written as int and would be read as str"),
        (tuple[int, int], tuple[int, int, int],
         "the state was written as a tuple of 2 and would be read as a tuple of 3"),
        (record(("a", int)), record(("a", int), ("b", str)), "b is new and has no default"),
        (record(("a", int)), record(("a", str)), "a was written as int and would be read as str"),
        (record(("a", int), ("b", int)), record(("a", int), forbid_unknown_fields=True),
         "b was written, and unknown fields are forbidden"),
        (Box[Box[int]], Box[Box[str]],
         "value.value was written as int and would be read as str"),
        (Box[list[Box[int]]], Box[list[Box[str]]],
         "value[].value was written as int and would be read as str"),
        (Lacking, record(("a", int)), "a was not always written and has no default"),
        (Maybe, record(("a", int)), "a was not always written and has no default"),
        (record(("a", int, 3), omit_defaults=True), record(("a", int)),
         "a was not always written and has no default"),
        (record(("a", int, 3), omit_defaults=True), record(("a", int, 4)),
         "a was not written where it had its default, which has changed"),
        (record(("a", int, 3), omit_defaults=True), record(("a", int | float, 3.0)),
         "a was not written where it had its default, which has changed"),
        (record(("a", int)), record(("a", int), rename={"a": "b"}), "b is new and has no default"),
        (A, B, "the state was written as a record and would be read as a record"),
        (record(("a", int)), A, "the state was written as a record and would be read as a record"),
        (A | B, A, "the state was written as a record | a record and would be read as a record"),
        (A | B, A | C,
         "the state was written as a record | a record and would be read as a record | a record"),
        (record(("a", int)), array(("a", int)),
         "the state was written as a record and would be read as a record"),
        (array(("a", int), ("b", int)), array(("b", int), ("a", int)),
         "a was written at the position from which b would be read"),
        (array(("a", int), ("b", int)), array(("b", int)),
         "a was written at the position from which b would be read"),
        (array(("a", int)), array(("a", int), ("b", int)), "b is new and has no default"),
        (array(("a", int), ("b", int)), array(("a", int), forbid_unknown_fields=True),
         "b was written, and further fields are forbidden"),
        (Triple, Pair, "c was written, and further fields are forbidden"),
        (Colour, Literal["red"],
         "the state may have been written as 'blue', which is no value now"),
        (Literal[1, 2], Level, "the state may have been written as 2, which is no value now"),
        (Literal["a", None], Literal["a"],
         "the state was written as an enum | None and would be read as an enum"),
        (Literal["a", 1], Literal["a"],
         "the state was written as an enum of numbers | an enum and would be read as an enum"),
    ],
)  # fmt: skip
def test_what_could_be_misread_is_refused(old: Any, new: Any, reason: str) -> None:
    assert changed(old, new) == [reason]


def test_every_misreading_is_told_once() -> None:
    old = record(("a", Box[int]), ("b", Box[int]), ("c", int), ("d", int))
    new = record(("a", Box[str]), ("b", Box[str]), ("c", str), ("e", int))

    assert changed(old, new) == [
        "a.value was written as int and would be read as str",
        "c was written as int and would be read as str",
        "e is new and has no default",
    ]


def test_types_that_contain_themselves_are_compared_to_the_end() -> None:
    class Other(msgspec.Struct):
        inside: tuple[Other, ...] = ()
        added: int = 0

    class Worse(msgspec.Struct):
        inside: list[Worse] = []
        added: str = ""

    scope = {"Other": Other, "Worse": Worse}
    for kind in (Other, Worse):
        kind.__annotations__ = {
            name: eval(text, {**globals(), **scope}) for name, text in kind.__annotations__.items()
        }

    assert changed(Tree, Other) == []
    assert changed(Other, Worse) == ["added was written as int and would be read as str"]


def test_a_field_that_comes_back_as_something_else_is_found_in_the_first_description() -> None:
    first, second, third = (
        record(("a", int), ("b", int)),
        record(("a", int)),
        record(("a", int), ("b", str, "")),
    )

    assert changed(first, second) == []
    assert changed(second, third) == []
    assert changed(first, third) == ["b was written as int and would be read as str"]


def test_a_description_of_another_form_is_not_compared() -> None:
    assert misreadings({"version": 2}, describe(int)) == ["a type was described in form 2, not 1"]


# --- the promise: what is safe is read, and means the same ---------------------------------------

SCALARS: list[Any] = [
    int, float, str, bool, bytes, Decimal, datetime, date, UUID, Colour, Level, Literal["red"],
]  # fmt: skip


def values_of(kept: Any, random: random.Random, count: int) -> list[Any]:
    return [made(msgspec.inspect.type_info(kept), random) for _ in range(count)]


def made(node: msgspec.inspect.Type, r: random.Random) -> Any:
    """A value of a type; where it has several forms, any."""
    i = msgspec.inspect
    match node:
        case i.NoneType():
            return None
        case i.BoolType():
            return r.random() < 0.5
        case i.IntType():
            return r.choice([0, -1, 7, 2**53 + 1, -(2**63), 2**63])
        case i.FloatType():
            return r.choice([0.0, -1.5, 1e300, 3.0])
        case i.StrType():
            return r.choice(["", "a", "1.5", "2026-01-01", "2026-01-01T00:00:00Z", "red"])
        case i.BytesType():
            return r.choice([b"", b"a"])
        case i.ByteArrayType():
            return bytearray(b"a")
        case i.DecimalType():
            return r.choice([Decimal("1.50"), Decimal("-0"), Decimal("1E+40")])
        case i.DateTimeType():
            moment = datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC)
            zone = r.choice([None, UTC, timezone(timedelta(hours=2))])
            return moment.replace(tzinfo=zone)
        case i.DateType():
            return date(2026, 1, 1)
        case i.UUIDType():
            return UUID(int=7)
        case i.EnumType():
            return r.choice(list(node.cls))
        case i.LiteralType():
            return r.choice(node.values)
        case i.UnionType():
            return made(r.choice(node.types), r)
        case i.ListType():
            return [made(node.item_type, r) for _ in range(r.randrange(3))]
        case i.VarTupleType():
            return tuple(made(node.item_type, r) for _ in range(r.randrange(3)))
        case i.SetType() | i.FrozenSetType():
            return {made(node.item_type, r) for _ in range(r.randrange(3))}
        case i.TupleType():
            return tuple(made(part, r) for part in node.item_types)
        case i.DictType():
            return {made(node.key_type, r): made(node.value_type, r) for _ in range(r.randrange(3))}
        case i.StructType() | i.DataclassType() | i.TypedDictType() | i.NamedTupleType():
            fields = [f for f in node.fields if f.required or r.random() < 0.5]
            return node.cls(**{f.name: made(f.type, r) for f in fields})
        case _:
            raise AssertionError(node)


@st.composite
def kinds(draw: st.DrawFn, depth: int = 2) -> Any:
    """Types of states; those that msgspec does not take are left out."""
    shape = draw(st.sampled_from(["scalar"] * 3 + ["union", "list", "record"] * (depth > 0)))
    inner = kinds(depth - 1)
    if shape == "union":
        parts = draw(st.lists(st.sampled_from([None, *SCALARS]) | inner, min_size=2, max_size=3))
        kept: Any = parts[0]
        for part in parts[1:]:
            kept = kept | part if kept is not None or part is not None else None
        return kept if kept is not None else int
    if shape == "list":
        item: Any = draw(inner)
        key = draw(st.sampled_from([str, int]))
        containers: list[Any] = [list[item], tuple[item, ...], tuple[item, int], dict[key, item]]  # type: ignore[valid-type]  # computed
        return draw(st.sampled_from(containers))
    if shape == "record":
        return draw(records(depth - 1))
    return draw(st.sampled_from(SCALARS))


@st.composite
def records(draw: st.DrawFn, depth: int) -> Any:
    names = draw(st.lists(st.sampled_from("abc"), unique=True, min_size=1))
    required: list[Any] = []
    optional: list[Any] = []
    for name in names:
        kept = draw(kinds(depth))
        if draw(st.booleans()):
            required.append((name, kept))
            continue
        value = made_once(kept, draw(st.integers(0, 3)))
        optional.append((name, kept, value))
    return msgspec.defstruct(
        "S",
        [*required, *optional],
        array_like=draw(st.sampled_from([False, False, True])),
        omit_defaults=draw(st.booleans()),
        forbid_unknown_fields=draw(st.sampled_from([False, False, True])),
        tag=draw(st.sampled_from([None, None, "x", "y"])),
        kw_only=True,
    )


def made_once(kept: Any, seed: int) -> Any:
    """A default: of what cannot be changed, as Python asks for."""
    try:
        value = values_of(kept, random.Random(seed), 1)[0]
    except TypeError:
        return None
    return value if is_immutable(kept) else msgspec.field(default_factory=lambda: value)


@st.composite
def changes(draw: st.DrawFn) -> tuple[Any, Any]:
    """A record's type, and the same with a change or two: most of these are refused."""
    old = draw(records(1))
    fields = [(part.name, part.type, part) for part in msgspec.structs.fields(old)]
    config = old.__struct_config__
    options = {"tag": config.tag, "omit_defaults": config.omit_defaults, "closed": False}
    said: list[Any] = [
        (name, kept) if part.required else (name, kept, default_like(part))
        for name, kept, part in fields
    ]
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(said) - 1)) if said else None
        match draw(st.sampled_from(CHANGES)):
            case "drop" if at is not None:
                del said[at]
            case "widen" if at is not None:
                name, kept, *default = said[at]
                said[at] = (name, kept | draw(st.sampled_from([None, float, int])), *default)
            case "retype" if at is not None:
                said[at] = (said[at][0], draw(kinds(1)))
            case "near" if at is not None:
                name, kept, *_ = said[at]
                said[at] = (name, NEAR.get(kept, kept | None))
            case "require" if at is not None:
                said[at] = said[at][:2]
            case "default" if at is not None:
                name, kept, *_ = said[at]
                said[at] = (name, kept, made_once(kept, draw(st.integers(0, 3))))
            case "add":
                said.append(("z", int) if draw(st.booleans()) else ("z", int, 5))
            case "order":
                said = list(draw(st.permutations(said)))
            case "close":
                options["closed"] = True
            case "omit":
                options["omit_defaults"] = not options["omit_defaults"]
            case "tag":
                options["tag"] = draw(st.sampled_from([None, "x", "y"]))
    return old, msgspec.defstruct(
        "S",
        {field[0]: field for field in said}.values(),
        array_like=config.array_like,
        omit_defaults=options["omit_defaults"],
        forbid_unknown_fields=options["closed"],
        tag=options["tag"],
        kw_only=True,
    )


CHANGES = [
    "drop", "widen", "retype", "near", "near", "require", "default", "default", "add", "order",
    "close", "omit", "tag",
]  # fmt: skip
NEAR: dict[Any, Any] = {
    int: float, float: int | float, str: Decimal, Decimal: str, Colour: Literal["red"],
    Level: Literal[1, 2], Literal["red"]: Colour, datetime: str, date: str, bool: int,
}  # fmt: skip
"""What bytes of a type could be taken for."""


def default_like(part: msgspec.structs.FieldInfo) -> Any:
    if part.default is not msgspec.NODEFAULT:
        return part.default
    return msgspec.field(default_factory=part.default_factory)


def is_same(old: Any, new: Any) -> bool:
    """Whether what was read means what was written, in the fields that both have."""
    if isinstance(old, msgspec.Struct):
        shared = set(old.__struct_fields__) & set(new.__struct_fields__)
        return all(is_same(getattr(old, name), getattr(new, name)) for name in shared)
    if isinstance(old, list | tuple):
        return len(old) == len(new) and all(map(is_same, old, new))
    if isinstance(old, dict):
        return old.keys() == new.keys() and all(is_same(old[key], new[key]) for key in old)
    # A literal and an enum's member are written alike, and mean the same.
    was, is_now = (side.value if isinstance(side, enum.Enum) else side for side in (old, new))
    return type(was) is type(is_now) and bool(was == is_now)


@settings(max_examples=500, deadline=None)
@given(changes(), st.integers(0, 2**16))
def test_what_has_no_misreadings_is_read_as_it_was_written(
    pair: tuple[Any, Any], seed: int
) -> None:
    old, new = pair
    if unkept(old) or unkept(new) or misreadings(describe(old), describe(new)):
        return
    for value in values_of(old, random.Random(seed), 5):
        read = msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=new)

        assert is_same(value, read)


@settings(max_examples=200, deadline=None)
@given(kinds())
def test_a_type_reads_what_it_wrote_itself(kept: Any) -> None:
    if unkept(kept):
        return
    assert misreadings(describe(kept), describe(kept)) == []
    for value in values_of(kept, random.Random(3), 5):
        assert is_same(value, msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=kept))
