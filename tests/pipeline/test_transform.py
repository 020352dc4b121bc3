"""The product's own function: what it may return, and what its failures are."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import pydantic
import pytest

from mesh_stream import DependencyError, SourceContext, filtered
from mesh_stream.errors import CodeError, ContractError, RegistryError
from mesh_stream.pipeline.record import Filtered
from mesh_stream.pipeline.transform import compile_transform
from mesh_stream.product.product import Limits
from mesh_stream.testing import ProductDriver
from tests.pipeline.making import contract, message, port, product, transformation


def apply(
    function: Callable[..., Any], record: Any = None, *, fanout: int = 3, context: bool = False
) -> Any:
    """One record through the stage."""
    stage = compile_transform(transformation(function, context=context), fanout=fanout)
    return stage({} if record is None else record, message(key=b"k", headers=[("h", b"1")]))


class Struct(msgspec.Struct):
    id: str = "o1"


@dataclasses.dataclass
class Dataclass:
    id: str = "o1"


class IterableModel(pydantic.BaseModel):
    """A pydantic model can be iterated: it is one record all the same."""

    id: str = "o1"


@pytest.mark.parametrize(
    "result",
    [{"id": "o1"}, MappingProxyType({"id": "o1"}), Struct(), Dataclass(), IterableModel(), None],
    ids=lambda result: type(result).__name__,
)
def test_one_record_is_handed_on_as_it_is(result: Any) -> None:
    stage = compile_transform(transformation(lambda _record: result), fanout=3)

    for _ in range(2):
        assert stage({}, message()) is result


def test_a_filter_keeps_its_reason() -> None:
    assert apply(lambda _record: filtered("not_completed")) == Filtered("not_completed")


@pytest.mark.parametrize(
    "several",
    [
        lambda: [Struct("a"), Struct("b")],
        lambda: (Struct("a"), Struct("b")),
        lambda: deque([Struct("a"), Struct("b")]),
        lambda: {"x": Struct("a"), "y": Struct("b")}.values(),
        lambda: (Struct(name) for name in "ab"),
        lambda: iter([Struct("a"), Struct("b")]),
        lambda: map(Struct, "ab"),
    ],
    ids=["list", "tuple", "deque", "values", "generator", "iterator", "map"],
)
def test_any_iterable_of_records_is_a_list_of_them(several: Callable[[], Any]) -> None:
    stage = compile_transform(transformation(lambda _record: several()), fanout=3)

    for _ in range(2):
        assert stage({}, message()) == [Struct("a"), Struct("b")]


def test_the_kind_of_result_may_change_from_record_to_record() -> None:
    results = iter([[Struct()], Struct(), None, filtered("x"), [], iter(()), {"id": "o1"}])
    stage = compile_transform(transformation(lambda _record: next(results)), fanout=3)

    found = [stage({}, message()) for _ in range(7)]

    assert found == [[Struct()], Struct(), None, filtered("x"), [], [], {"id": "o1"}]


@pytest.mark.parametrize("kind", [list, tuple, iter, deque])
def test_a_fan_out_is_bounded_whatever_holds_it(kind: Any) -> None:
    assert len(apply(lambda _record: kind([Struct()] * 3))) == 3
    with pytest.raises(ContractError, match="made more than 3 records of one") as caught:
        apply(lambda _record: kind([Struct()] * 4))
    assert caught.value.rule == "fanout"


def test_an_endless_generator_is_left_after_its_limit() -> None:
    made = []

    def endless(_record: Any) -> Iterator[Struct]:
        while True:
            made.append(1)
            yield Struct()

    with pytest.raises(ContractError, match=r"expected at most `limits\.fanout`"):
        apply(endless)
    assert len(made) == 4


# What it is not


class Named(NamedTuple):
    id: str


@pytest.mark.parametrize(
    ("result", "kind"),
    [("o1", "str"), (b"o1", "bytes"), (7, "int"), (Named("o1"), "Named"), (object(), "object")],
)
def test_what_is_no_record_is_the_codes_fault(result: Any, kind: str) -> None:
    driver = ProductDriver(
        product(contract(id="string"), port(transformation(lambda _record: result)))
    )
    several = ProductDriver(
        product(contract(id="string"), port(transformation(lambda _record: [Struct(), result])))
    )

    for one in (driver, several):
        one.send({})
        one.send({})
        assert [(r.fault_class, r.rule) for r in one.rejected] == [("code", "transformation")] * 2
        assert f"returned a {kind}; expected a dict, a msgspec Struct" in one.rejected[0].reason


@pytest.mark.parametrize("inner", [None, filtered("x"), [Struct()]], ids=str)
def test_a_part_of_a_fan_out_is_a_record_and_nothing_else(inner: Any) -> None:
    driver = ProductDriver(
        product(contract(id="string"), port(transformation(lambda _record: [Struct(), inner])))
    )

    driver.send({})

    assert driver.facts == []
    assert driver.rejected[0].rule == "transformation"


# What it raises


def test_what_it_raises_is_named_with_its_place_and_without_its_words() -> None:
    def torn(record: dict[str, Any]) -> Any:
        return record["items"][0]["price"] + int(record["secret"])

    with pytest.raises(CodeError) as caught:
        apply(torn, {"items": [{"price": 1}], "secret": "canary"})

    line = torn.__code__.co_firstlineno + 1
    assert caught.value.reason == (
        f"ValueError raised at test_transform.py:{line} in torn, "
        f"called as pipeline/test_transform.py:torn"
    )
    assert caught.value.rule == "transformation"
    assert isinstance(caught.value.__cause__, ValueError)


def test_the_authors_line_is_named_not_the_librarys() -> None:
    def deep(_record: Any) -> Any:
        return msgspec.json.decode(b"{", type=dict)

    def deeper(_record: Any) -> Any:
        return dataclasses.asdict(7)  # type: ignore[call-overload]  # raises inside the library

    for function in (deep, deeper):
        with pytest.raises(CodeError, match=r"raised at test_transform\.py:\d+ in deep"):
            apply(function)


def test_a_generator_that_raises_midway_is_the_codes_fault() -> None:
    def midway(_record: Any) -> Iterator[Struct]:
        yield Struct()
        raise KeyError("canary")

    with pytest.raises(CodeError, match=r"KeyError raised at test_transform\.py:\d+ in midway"):
        apply(midway)


def test_recursion_without_end_is_the_codes_fault() -> None:
    def endless(record: Any) -> Any:
        return endless(record)

    with pytest.raises(CodeError, match="RecursionError raised at"):
        apply(endless)


@pytest.mark.parametrize("error", [DependencyError("down"), RegistryError("down"), MemoryError()])
def test_a_fault_of_the_platform_passes_from_a_function_and_from_a_generator(
    error: Exception,
) -> None:
    def plain(_record: Any) -> Any:
        raise error

    def lazy(_record: Any) -> Iterator[Any]:
        yield Struct()
        raise error

    for function in (plain, lazy):
        with pytest.raises(type(error)):
            apply(function)


def test_a_record_error_that_the_code_raises_itself_is_still_the_codes_fault() -> None:
    """Only the path decides what class a fault is of, and its words could hold anything."""

    def clever(_record: Any) -> Any:
        raise ContractError("canary", rule="canary")

    with pytest.raises(CodeError) as caught:
        apply(clever)

    assert "canary" not in caught.value.reason + caught.value.rule


# The source context


def test_the_second_parameter_says_where_the_record_came_from() -> None:
    seen = []

    def look(_record: Any, source: SourceContext) -> None:
        seen.append(source)

    stage = compile_transform(transformation(look, context=True), fanout=3)
    stage({}, message(key=b"\xff", headers=[("h", b"1"), ("h", None)], offset=7))
    stage({}, message(timestamp=(0, -1)))

    first, second = seen
    assert (first.topic, first.partition, first.offset) == ("raw.orders", 0, 7)
    assert (first.key, first.headers) == (b"\xff", [("h", b"1"), ("h", None)])
    assert first.timestamp == 1_700_000_000_000
    assert (second.key, second.headers, second.timestamp) == (None, [], None)


def test_the_contexts_headers_are_a_copy() -> None:
    headers: Any = [("h", b"1")]

    def spoil(_record: Any, source: SourceContext) -> None:
        source.headers.clear()

    compile_transform(transformation(spoil, context=True), fanout=3)({}, message(headers=headers))

    assert headers == [("h", b"1")]


def test_the_products_limit_is_the_one_that_counts() -> None:
    def many(_record: Any) -> list[Struct]:
        return [Struct()] * 5

    facts, applied = contract(id="string"), port(transformation(many))

    wide = ProductDriver(product(facts, applied, limits=Limits(fanout=5)))
    narrow = ProductDriver(product(facts, applied, limits=Limits(fanout=4)))
    assert len(wide.send({}).facts) == 5
    assert narrow.send({}).rejected is not None
