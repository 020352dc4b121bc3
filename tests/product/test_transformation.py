from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mesh_stream.errors import Fault
from mesh_stream.product.authored_code import AuthoredCode
from mesh_stream.product.product import Transformation
from mesh_stream.product.transformation import load_transformation
from tests.product.seed import the_fault_of, write

HEAD = """\
from __future__ import annotations
import dataclasses, typing
from collections.abc import Iterator
import msgspec, pydantic
class Struct(msgspec.Struct): a: int
@dataclasses.dataclass
class Data: a: int
class Typed(typing.TypedDict): a: int
class Model(pydantic.BaseModel): a: int
class Plain: ...
"""
FILE = "src/transformations/t.py"


def load(root: Path, text: str, function: str | None = None) -> Transformation:
    folder = write(root, "orders/orders-completed", {FILE: HEAD + text})
    return load_transformation(AuthoredCode(folder), folder / FILE, function)


def fault(root: Path, text: str, function: str | None = None) -> Fault:
    return the_fault_of(lambda: load(root, text, function))


def test_the_only_function_is_found_and_its_origin_told(tmp_path: Path) -> None:
    made = load(tmp_path, "def complete(order): return order\n")

    assert made.function({"a": 1}) == {"a": 1}
    assert made.origin == "src/transformations/t.py:complete"
    assert made.record_type is dict
    assert made.wants_context is False


def test_a_second_parameter_receives_the_context(tmp_path: Path) -> None:
    assert load(tmp_path, "def f(order, context): ...\n").wants_context is True
    assert load(tmp_path, "def f(order, context=None): ...\n").wants_context is True


@pytest.mark.parametrize("name", ["Struct", "Data", "Typed", "Model"])
def test_the_first_parameter_says_the_records_type(tmp_path: Path, name: str) -> None:
    made = load(tmp_path, f"def f(order: {name}): ...\n")

    assert made.record_type is made.function.__globals__[name]


@pytest.mark.parametrize(
    "annotation",
    ["dict", "dict[str, typing.Any]", "dict[str, object]", "typing.Any", "typing.Dict[str, int]"],
)
def test_a_dict_is_a_dict(tmp_path: Path, annotation: str) -> None:
    assert load(tmp_path, f"def f(order: {annotation}): ...\n").record_type is dict


def test_only_the_first_parameters_annotation_must_resolve(tmp_path: Path) -> None:
    made = load(tmp_path, "def f(order: Struct, context: Unknown) -> Missing: ...\n")

    assert made.record_type is made.function.__globals__["Struct"]


def test_a_generator_is_a_plain_function(tmp_path: Path) -> None:
    made = load(tmp_path, "def f(order: Struct) -> Iterator[dict]:\n    yield order\n")

    assert list(made.function(1)) == [1]


def test_the_named_function_is_taken_among_several(tmp_path: Path) -> None:
    text = "def one(order): ...\ndef two(order): ...\n"

    assert load(tmp_path, text, "two").origin.endswith(":two")


@pytest.mark.parametrize("name", ["orders_completed", "transform"])
def test_of_several_the_one_called_after_the_product_or_transform_is_taken(
    tmp_path: Path, name: str
) -> None:
    made = load(tmp_path, f"def other(order): ...\ndef {name}(order): ...\n")

    assert made.origin.endswith(f":{name}")


def test_private_and_imported_functions_are_not_counted(tmp_path: Path) -> None:
    text = "from os.path import join\ndef _helper(a): ...\ndef f(order): ...\n"

    assert load(tmp_path, text).origin.endswith(":f")


def test_a_decorated_function_is_the_authors(tmp_path: Path) -> None:
    text = (
        "import functools\n"
        "def _logged(f):\n    @functools.wraps(f)\n    def inner(order):\n        return f(order)\n"
        "    return inner\n"
        "@_logged\ndef f(order: Struct): return order\n"
    )

    made = load(tmp_path, text)

    assert made.record_type is made.function.__globals__["Struct"]


@pytest.mark.parametrize(
    ("text", "function", "found", "help_text"),
    [
        ("", None, "0 public functions", "one public function"),
        ("def a(x): ...\ndef b(x): ...\n", None, "2 public functions (a, b)",
         "transformation: src/transformations/t.py:a"),
        ("def a(x): ...\n", "b", "no function b", "a"),
        ("def a(x): ...\n", "Plain", "no function Plain", "a"),
        ("def a(x): ...\n", "a.b", "no function a.b", "a"),
        ("async def f(order): ...\n", None, "an async function",
         "async transformations are not run yet"),
        ("async def f(order):\n    yield order\n", None, "an async function", "not run yet"),
        ("def f(): ...\n", None, "the parameters ()", "one or two"),
        ("def f(a, b, c): ...\n", None, "the parameters (a, b, c)", "one or two"),
        ("def f(a, *, b): ...\n", None, "the parameters (a, b)", "one or two"),
        ("def f(*a): ...\n", None, "the parameters (a)", "one or two"),
        ("def f(a: Unknown): ...\n", None, "an annotation that cannot be resolved", "exists"),
        ("def f(a: int): ...\n", None, "a record annotated int", "msgspec Struct"),
        ("def f(a: Plain): ...\n", None, "a record annotated Plain", "msgspec Struct"),
        ("def f(a: Struct | None): ...\n", None, "a record annotated", "msgspec Struct"),
        ("def f(a: list[Struct]): ...\n", None, "a record annotated", "msgspec Struct"),
        ("def f(a: dict[int, str]): ...\n", None, "a record annotated", "msgspec Struct"),
    ],
)  # fmt: skip
def test_what_cannot_be_applied_says_why(
    tmp_path: Path, text: str, function: str | None, found: str, help_text: str
) -> None:
    fault_found = fault(tmp_path, text, function)

    assert found in fault_found.found
    assert help_text in f"{fault_found.expected} {fault_found.remedy}"


def test_the_line_is_the_functions(tmp_path: Path) -> None:
    assert fault(tmp_path, "\n\ndef f(a, b, c): ...\n").line == HEAD.count("\n") + 3


def test_sql_is_not_run_yet(tmp_path: Path) -> None:
    folder = write(tmp_path, "orders/orders-completed", {"src/transformations/t.sql": "SELECT 1"})
    path = folder / "src/transformations/t.sql"

    found = the_fault_of(lambda: load_transformation(AuthoredCode(folder), path, None))

    assert found.found == "a SQL transformation"
    assert "not run yet" in found.expected


def test_optional_extras_beyond_the_second_are_refused(tmp_path: Path) -> None:
    made: Any = load(tmp_path, "def f(order, *, scale=2): ...\n")

    assert made.wants_context is False
