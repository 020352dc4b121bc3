from __future__ import annotations

from pathlib import Path

import pytest

from mesh_stream.errors import Fault
from mesh_stream.product.product import Product, State
from tests.product.folds import DECLARATION, FILE, FOLD, HEAD, product
from tests.product.seed import faults_of, the_fault_of

LINE = HEAD.count("\n") + 1
STATE_LINE = DECLARATION.count("\n") + 1
SESSION = "state: {key: sku, window: {session: 1_hour}}"


def state(made: Product) -> State:
    assert made.state is not None
    return made.state


def fault(root: Path, code: str, more: str = "state: {key: sku}", **files: str) -> Fault:
    return the_fault_of(lambda: product(root, more, code, **files))


def test_fold_alone_is_found_with_the_types_it_declares(tmp_path: Path) -> None:
    made = state(product(tmp_path))
    names = made.fold.call.__globals__

    assert made.fold.origin == f"{FILE}:fold"
    assert made.fold.call(None, names["Move"]("a", 2)) == names["Stock"]("a", 2)
    assert (made.event_type, made.state_type) == (names["Move"], names["Stock"])
    assert (made.fact, made.merge) == (None, None)


def test_fact_and_merge_are_found_beside_it(tmp_path: Path) -> None:
    code = FOLD + "def fact(key, window, state): ...\ndef merge(a: Stock, b: Stock) -> Stock: ...\n"

    made = state(product(tmp_path, SESSION, code))

    assert made.fact is not None
    assert made.merge is not None
    assert (made.fact.origin, made.merge.origin) == (f"{FILE}:fact", f"{FILE}:merge")


def test_merge_is_no_part_of_a_state_without_sessions(tmp_path: Path) -> None:
    assert state(product(tmp_path, code=FOLD + "def merge(whatever): ...\n")).merge is None


def test_the_functions_may_be_in_several_files(tmp_path: Path) -> None:
    files = {"src/transformations/facts.py": "def fact(key, window, state): ...\n"}

    made = state(product(tmp_path, **files))

    assert made.fact is not None
    assert made.fact.origin == "src/transformations/facts.py:fact"


@pytest.mark.parametrize("named", [f"{FILE}:count", f"{FILE}:fold", FILE])
def test_a_fold_may_be_named_fact_is_then_the_one_beside_it(tmp_path: Path, named: str) -> None:
    code = FOLD + "def fact(key, window, state): ...\n"
    code += FOLD.replace("def fold", "def count") if "count" in named else ""
    other = {"src/transformations/other.py": HEAD + FOLD + "def fact(key, window, state): ...\n"}

    made = product(tmp_path, f"state: {{key: sku, fold: '{named}'}}", code, **other)

    name = named.removeprefix(FILE).lstrip(":") or "fold"
    assert state(made).fold.origin == f"{FILE}:{name}"
    assert state(made).fact is not None
    assert state(made).fact.origin == f"{FILE}:fact"  # type: ignore[union-attr]  # it is there


def test_annotations_need_not_be_text(tmp_path: Path) -> None:
    code = (HEAD + FOLD).removeprefix("from __future__ import annotations\n")

    made = product(tmp_path, code="", **{FILE: code})

    assert state(made).state_type.__name__ == "Stock"


@pytest.mark.parametrize(
    ("annotation", "result"),
    [
        ("int | None", "int"), ("typing.Optional[Decimal]", "Decimal | None"),
        ("None | Data", "Data | None"), ("Typed | None", "Typed"), ("Pair | None", "Pair | None"),
        ("dict[str, Decimal] | None", "dict[str, Decimal]"), ("datetime | None", "datetime"),
        ("int | str | None", "str | int | None"), ("Kind | None", "Kind"),
        ("A | B | None", "A | B | None"), ("tuple[Pair, ...] | None", "tuple[Pair, ...]"),
        ("Node | None", "Node | None"),
    ],
)  # fmt: skip
def test_what_a_state_may_be(tmp_path: Path, annotation: str, result: str) -> None:
    code = f"""\
@dataclasses.dataclass
class Data: a: Decimal
class Typed(TypedDict): a: int
class Pair(NamedTuple):
    a: int
    b: str
class Kind(enum.Enum): A = "a"
class A(msgspec.Struct, tag=True): a: int
class B(msgspec.Struct, tag=True): b: int
class Node(msgspec.Struct): inside: list[Node]
def fold(state: {annotation}, event: Move) -> {result}: ...
def fact(key, window, state): ...
"""
    assert product(tmp_path, code=code).state is not None


KEPT = "a msgspec.Struct, dataclass, TypedDict, NamedTuple or scalar whose every part has its type"
FOLDS = "def fold(state: S | None, event: E) -> S | None"


@pytest.mark.parametrize(
    ("signature", "text"),
    [
        ("state, event", f"the parameter event without annotation; expected {FOLDS}"),
        ("state, event: Move", f"the parameter state without annotation; expected {FOLDS}"),
        ("state: Stock | None, event: Move):",
         f"a result without annotation; expected {FOLDS}"),
        ("state: Stock, event: Move",
         "state: Stock; expected Stock | None: the first event of a key finds no state"),
        ("state: None, event: Move", f"state: None; expected {FOLDS}"),
        ("state: dict | None, event: Move",
         ("state: dict | None, with something of no stated type in [keys]; something of "
         f"no stated type in []; expected {KEPT}")),
        ("state: Any, event: Move",
         f"state: Any, with something of no stated type; expected {KEPT}"),
        ("state: object, event: Move",
         "state: object, with object, which msgspec does not keep; expected " + KEPT),
        ("state: Model | None, event: Move",
         f"state: Model | None, with the pydantic model Model; expected {KEPT}"),
        ("state: Open | None, event: Move",
         ("state: Open | None, with something of no stated type in lines[].price; "
         f"expected {KEPT}")),
        ("state: Bounded | None, event: Move",
         ("state: Bounded | None, with a constraint in n: checked when read, but not when "
         f"written; expected {KEPT}")),
        ("state: Stock | None, event: Move) -> int | None:",
         "a fold that returns int | None; expected -> Stock | None, as it takes"),
        ("state: Stock | None, event: Missing",
         ("an annotation that cannot be resolved (name 'Missing' is not defined); expected one "
         "that names what exists")),
        ("state: Stock | None, event: dict",
         ("event: dict; expected a msgspec.Struct, a dataclass or a TypedDict that says "
         "what an event is")),
        ("state: Stock | None, event: Model",
         ("event: Model; expected a msgspec.Struct, a dataclass or a TypedDict that says "
         "what an event is")),
        ("state: Stock | None, event: Move | Raw",
         ("event: Move | Raw; expected a msgspec.Struct, a dataclass or a TypedDict that "
         "says what an event is")),
        ("state: Stock | None, event: Open",
         f"event: Open, with something of no stated type in lines[].price; expected {KEPT}"),
        ("state: Stock | None, event: Tupled",
         f"event: Tupled, with keys in sku that JSON cannot hold; expected {KEPT}"),
        ("state", f"the parameters (state); expected {FOLDS}"),
        ("state, event, more", f"the parameters (state, event, more); expected {FOLDS}"),
        ("state, event=None", f"the parameters (state, event); expected {FOLDS}"),
        ("state, event, *, more", f"the parameters (state, event, more); expected {FOLDS}"),
        ("*args", f"the parameters (args); expected {FOLDS}"),
    ],
)  # fmt: skip
def test_a_fold_that_does_not_declare_what_it_takes_says_what_to_write(
    tmp_path: Path, signature: str, text: str
) -> None:
    code = f"""\
class Model(pydantic.BaseModel): sku: str
class Line(msgspec.Struct): price: Any
class Open(msgspec.Struct):
    sku: str
    lines: list[Line]
class Bounded(msgspec.Struct): n: Annotated[int, msgspec.Meta(ge=0)]
class Tupled(msgspec.Struct): sku: dict[tuple[int, str], int]
def fold({signature if signature.endswith(":") else f"{signature}) -> Stock | None:"} ...
"""
    found = faults_of(lambda: product(tmp_path, code=code))[0]

    path = tmp_path / "stock/stock-levels" / FILE
    assert str(found) == f"{path}:{found.line}: fold: found {text}"
    assert found.line == LINE + 7


def test_events_may_have_constraints_since_they_come_from_outside(tmp_path: Path) -> None:
    code = (
        "class Checked(msgspec.Struct): sku: Annotated[str, msgspec.Meta(min_length=1)]\n"
        + FOLD.replace("Move", "Checked")
    )

    assert state(product(tmp_path, code=code)).key_type is str


@pytest.mark.parametrize(
    "code", ["async " + FOLD, "async " + FOLD.replace("return", "yield"),
             FOLD.replace("return", "yield")]
)  # fmt: skip
def test_a_fold_returns_at_once(tmp_path: Path, code: str) -> None:
    found = fault(tmp_path, code)

    assert (found.line, found.field) == (LINE, "fold")
    assert found.found == "an async function or a generator"
    assert found.expected == f"a plain function, {FOLDS}: it is called within a transaction"


@pytest.mark.parametrize(
    ("code", "name", "expected"),
    [
        ("def fact(key, state): ...\n", "fact", "def fact(key, window, state)"),
        ("async def fact(key, window, state): ...\n", "fact", ("a plain function, def fact(key, "
         "window, state): it is called within a transaction")),
        ("def merge(a): ...\n", "merge", "def merge(a: S, b: S) -> S"),
    ],
)  # fmt: skip
def test_fact_and_merge_are_held_against_how_they_are_called(
    tmp_path: Path, code: str, name: str, expected: str
) -> None:
    merge = "" if name == "merge" else "def merge(a, b): ...\n"

    found = fault(tmp_path, FOLD + merge + code, SESSION)

    assert (found.field, found.expected) == (name, expected)


def test_a_state_without_a_fold_says_what_to_write(tmp_path: Path) -> None:
    found = fault(tmp_path, "def _fold(): ...\n")

    path = tmp_path / "stock/stock-levels/data_product.yaml"
    assert str(found) == (
        f"{path}:{STATE_LINE}: data_product.state: found no function fold in src/transformations; "
        f"expected {FOLDS} in src/transformations; or name it: "
        "state: {fold: src/transformations/stock.py:count}"
    )


def test_one_of_several_folds_must_be_named(tmp_path: Path) -> None:
    found = fault(tmp_path, FOLD, **{"src/transformations/other.py": HEAD + FOLD})

    assert found.field == "data_product.state"
    assert found.found == (f"several functions fold (src/transformations/other.py, {FILE})")
    assert found.remedy == "say which: state: {fold: src/transformations/other.py:fold}"


def test_one_of_several_facts_is_that_of_the_folds_file(tmp_path: Path) -> None:
    fact = "def fact(key, window, state): ...\n"

    found = fault(tmp_path, FOLD + fact, **{"src/transformations/another.py": fact})

    assert found.found == f"several functions fact (src/transformations/another.py, {FILE})"
    assert found.remedy == f"say which: state: {{fold: {FILE}:fold}}"


@pytest.mark.parametrize(
    ("named", "found", "help_text"),
    [
        (f"{FILE}:count", f"no function count in {FILE}", "it among the file's own: fold"),
        ("src/transformations/sock.py", "'src/transformations/sock.py'", f"did you mean {FILE}?"),
        ("../stock.py", "'../stock.py'", "a path inside the product's folder"),
        ("fold", "'fold'", "a .py file"),
    ],
)
def test_a_named_fold_that_is_not_there(
    tmp_path: Path, named: str, found: str, help_text: str
) -> None:
    fault_found = fault(tmp_path, FOLD, f"state: {{key: sku, fold: '{named}'}}")

    assert (fault_found.line, fault_found.field) == (STATE_LINE, "data_product.state.fold")
    assert fault_found.found == found
    assert help_text in f"{fault_found.expected} {fault_found.remedy}"


def test_code_that_does_not_load_is_one_fault(tmp_path: Path) -> None:
    found = fault(tmp_path, "raise ValueError('no')\n")

    assert (found.line, found.found) == (LINE, "ValueError: no")


def test_functions_of_a_state_that_is_not_declared_are_no_transformation(tmp_path: Path) -> None:
    found = fault(tmp_path, FOLD + "def fact(key, window, state): ...\n", "")

    path = tmp_path / "stock/stock-levels" / FILE
    assert str(found) == (
        f"{path}: found a fold (fold, fact); expected a function that is applied to each record; "
        "declare what is remembered: add state: to data_product.yaml"
    )


@pytest.mark.parametrize(("said", "field"), [("{kye: sku}", "kye"), ("{key: 7}", "key")])
def test_a_faulty_state_does_not_make_its_functions_transformations(
    tmp_path: Path, said: str, field: str
) -> None:
    found = fault(tmp_path, FOLD + "def fact(key, window, state): ...\n", f"state: {said}")

    assert found.field == f"data_product.state.{field}"


def test_a_faulty_declaration_does_not_make_them_transformations(tmp_path: Path) -> None:
    text = DECLARATION.replace("stock-levels", "[") + "  state: {key: sku}\n"

    found = fault(tmp_path, FOLD + "def fact(key, window, state): ...\n",
                  **{"data_product.yaml": text})  # fmt: skip

    assert found.path.name == "data_product.yaml"
