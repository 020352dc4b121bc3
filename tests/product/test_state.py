from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from mesh_stream.errors import Fault
from mesh_stream.product.folding import is_as_it_comes
from mesh_stream.product.loader import load_mesh, load_product
from mesh_stream.product.product import Emit, Hopping, Product, Session, State, Untimely
from tests.product.folds import DECLARATION, FILE, FOLD, HEAD, folder, product
from tests.product.seed import declaration, faults_of, the_fault_of, write

STATE_LINE = DECLARATION.count("\n") + 1
LINE = HEAD.count("\n") + 1
HOUR = 3_600_000
MERGE = "def merge(a: Stock, b: Stock) -> Stock: ...\n"
TRANSFORM = "def transform(record: Raw) -> Move: return Move(record.code, 1)\n"


def state(made: Product) -> State:
    assert made.state is not None
    return made.state


def fault(root: Path, more: str = "state: {key: sku}", code: str = FOLD, **files: str) -> Fault:
    return the_fault_of(lambda: product(root, more, code, **files))


def test_a_product_without_a_state_has_none(tmp_path: Path) -> None:
    assert product(tmp_path, "", "def f(a): ...\n").state is None


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    made = state(product(tmp_path))

    assert (made.key, made.key_type, made.window, made.grace) == ("sku", str, None, 0)
    assert (made.emit, made.late) == (Emit.ON_CHANGE, Untimely.DEAD_LETTER)
    assert (made.ahead, made.early) == (HOUR, Untimely.DEAD_LETTER)
    assert (made.idle, made.ttl, made.repartitions) == (60_000, None, True)


def test_what_is_said_is_kept_in_milliseconds(tmp_path: Path) -> None:
    more = """
state:
  key: sku
  window: {hopping: {size: 1_hour, advance: 10_minutes}}
  grace: 10_minutes
  emit: on_close
  late: drop
  ahead: 2_hours
  early: drop
  idle: 30_seconds
"""
    made = state(product(tmp_path, more))

    assert made.window == Hopping(HOUR, HOUR // 6)
    assert (made.grace, made.emit, made.late) == (HOUR // 6, Emit.ON_CLOSE, Untimely.DROP)
    assert (made.ahead, made.early, made.idle) == (2 * HOUR, Untimely.DROP, 30_000)


@pytest.mark.parametrize(
    ("said", "window"),
    [("{tumbling: 1_hour}", Hopping(HOUR, HOUR)), ("{session: 30_minutes}", Session(HOUR // 2))],
)
def test_windows_tumble_hop_or_end_in_silence(
    tmp_path: Path, said: str, window: Hopping | Session
) -> None:
    made = state(product(tmp_path, f"state: {{key: sku, window: {said}}}", FOLD + MERGE))

    assert made.window == window
    assert (made.merge is not None) == isinstance(window, Session)


def test_keys_may_be_forgotten(tmp_path: Path) -> None:
    assert state(product(tmp_path, "state: {key: sku, ttl: 90_days}")).ttl == 90 * 24 * HOUR


def test_without_a_key_there_is_one_state(tmp_path: Path) -> None:
    made = state(product(tmp_path, "state: {}"))

    assert (made.key, made.key_type, made.repartitions) == (None, str, True)


def test_the_cache_is_bounded_as_declared(tmp_path: Path) -> None:
    more = "state: {key: sku}\nlimits: {cached_states: 1000}"

    assert product(tmp_path, more).limits.cached_states == 1000
    found = fault(tmp_path, more.replace("1000", "999"))
    assert found.field == "data_product.limits.cached_states"


# --- the key -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "kind"), [("sku", str), ("units", int), ("number", int), ("kept", UUID)]
)
def test_a_key_is_text_a_whole_number_or_a_uuid(tmp_path: Path, key: str, kind: type) -> None:
    code = FOLD.replace("Move", "Keyed")
    keyed = "class Keyed(Move, kw_only=True): kept: UUID\n"

    assert state(product(tmp_path, f"state: {{key: {key}}}", keyed + code)).key_type is kind


def test_a_key_is_called_as_it_is_written_on_topics(tmp_path: Path) -> None:
    code = "class Named(msgspec.Struct, rename='camel'): stock_unit: str\n" + FOLD.replace(
        "Move", "Named"
    )

    assert state(product(tmp_path, "state: {key: stockUnit}", code)).key == "stockUnit"
    assert fault(tmp_path, "state: {key: stock_unit}", code).remedy == "did you mean stockUnit?"


@pytest.mark.parametrize(
    ("key", "found", "help_text"),
    [
        ("skuu", "'skuu'",
         "a field of Event: one of amount, at, flag, kind, left, maybe, sku; did you mean sku?"),
        ("amount", "amount, which is Decimal", "a field of type str, int or UUID"),
        ("at", "at, which is datetime", "a field of type str, int or UUID"),
        ("maybe", "maybe, which is str | None", "never null"),
        ("flag", "flag, which is bool", "a field of type str, int or UUID"),
        ("kind", "kind, which is Kind", "equal keys must be equal bytes"),
        ("left", "left, which is NotRequired[str]", "or left out"),
    ],
)  # fmt: skip
def test_what_is_no_key_says_what_would_be(
    tmp_path: Path, key: str, found: str, help_text: str
) -> None:
    code = """\
class Kind(enum.Enum): A = "a"
class Event(TypedDict):
    sku: str
    amount: Decimal
    at: datetime
    maybe: str | None
    flag: bool
    kind: Kind
    left: typing.NotRequired[str]
def fold(state: Stock | None, event: Event) -> Stock | None: ...
"""
    fault_found = fault(tmp_path, f"state: {{key: {key}}}", code)

    assert (fault_found.line, fault_found.field) == (STATE_LINE, "data_product.state.key")
    assert fault_found.found == found
    assert help_text in f"{fault_found.expected}; {fault_found.remedy}"


def test_what_contradicts_itself_is_a_fault_of_the_product(tmp_path: Path) -> None:
    found = faults_of(lambda: product(tmp_path, "state: {key: nope, grace: 1_minute}"))

    assert [fault.field for fault in found] == [
        "data_product.state.grace",
        "data_product.state.key",
    ]


def test_sessions_merge(tmp_path: Path) -> None:
    found = fault(tmp_path, "state:\n  key: sku\n  window: {session: 1_hour}")

    path = tmp_path / "stock/stock-levels/data_product.yaml"
    assert str(found) == (
        f"{path}:{STATE_LINE + 2}: data_product.state.window: found sessions and no function merge;"
        " expected def merge(a: S, b: S) -> S beside fold: an event may join two sessions"
    )


# --- the inputs ----------------------------------------------------------------------------------


def test_without_a_transformation_records_are_read_as_events(tmp_path: Path) -> None:
    made = product(tmp_path)

    (port,) = made.inputs
    assert port.transformation is not None
    assert is_as_it_comes(port.transformation)
    assert port.transformation.record_type is state(made).event_type
    assert port.transformation.origin == f"{FILE}:fold"
    assert port.transformation.wants_context is False
    event: object = object()
    assert port.transformation.function(event) is event


@pytest.mark.parametrize(
    "files",
    [{}, {"src/transformations/raw.py": f"from .stock import Move, Raw\n{TRANSFORM}"}],
    ids=["same file", "another"],
)
def test_the_function_that_remains_is_the_transformation(
    tmp_path: Path, files: dict[str, str]
) -> None:
    code = FOLD + "def fact(key, window, state): ...\n" + ("" if files else TRANSFORM)

    made = product(tmp_path, code=code, **files)

    (port,) = made.inputs
    assert port.transformation is not None
    assert port.transformation.function.__name__ == "transform"
    assert port.transformation.record_type.__name__ == "Raw"


def test_the_files_functions_remain_where_the_transformations_file_is_named(tmp_path: Path) -> None:
    more = f"state: {{key: sku}}\ntransformation: {FILE}"

    made = product(tmp_path, more, FOLD + TRANSFORM)

    assert made.inputs[0].transformation is not None
    assert made.inputs[0].transformation.function.__name__ == "transform"


def test_several_inputs_feed_one_fold_through_their_own_transformations(tmp_path: Path) -> None:
    more = f"""
state: {{key: sku}}
inputs:
  - {{topic: raw.a, transformation: "{FILE}:one"}}
  - {{topic: raw.b, transformation: "{FILE}:two"}}
"""
    code = FOLD + TRANSFORM.replace("transform(", "one(") + TRANSFORM.replace("transform(", "two(")

    made = product(tmp_path, more, code)

    assert [port.transformation.origin for port in made.inputs if port.transformation] == [
        f"{FILE}:one",
        f"{FILE}:two",
    ]


@pytest.mark.parametrize(
    "annotation",
    ["", " -> Move", " -> Move | None", " -> Iterator[Move]", " -> list[Move] | None", " -> Any",
     " -> tuple[Move, ...]", " -> typing.Optional[Move]", " -> Missing", " -> list",
     " -> typing.Iterator",
     " -> typing.Generator[Move, None, None]", " -> 'Move | mesh_stream.pipeline.record.Filtered'",
     " -> Annotated[Move, 'x']"],
)  # fmt: skip
def test_a_transformation_makes_events_as_far_as_it_says(tmp_path: Path, annotation: str) -> None:
    code = f"import mesh_stream\n{FOLD}def transform(record: Raw){annotation}: ...\n"

    assert product(tmp_path, code=code).state is not None


@pytest.mark.parametrize(
    ("annotation", "made"),
    [
        ("Stock", "Stock"), ("Move | Stock", "Stock"), ("Iterator[Stock]", "Stock"),
        ("dict", "dict"), ("dict[str, Any]", "dict[str, Any]"), ("list[Raw]", "Raw"),
        ("str", "str"), ("Sub", "Sub"),
    ],
)  # fmt: skip
def test_a_transformation_that_makes_something_else(
    tmp_path: Path, annotation: str, made: str
) -> None:
    code = (
        f"{FOLD}class Sub(Move): more: int = 0\ndef transform(record: Raw) -> {annotation}: ...\n"
    )

    found = fault(tmp_path, code=code)

    path = tmp_path / "stock/stock-levels" / FILE
    assert str(found) == (
        f"{path}:{LINE + 3}: transform: found a transformation that returns {made}; expected Move, "
        f"the event that {FILE}:fold takes; or, for what is no transformation, a name that begins "
        "with an underscore"
    )


def test_a_fold_is_not_its_own_transformation(tmp_path: Path) -> None:
    more = f"state: {{key: sku}}\ntransformation: {FILE}:fold"

    found = fault(tmp_path, more, FOLD + TRANSFORM)

    path = tmp_path / "stock/stock-levels" / FILE
    assert str(found) == (
        f"{path}: found fold, a function of the state; expected one of the file's own: transform"
    )


def test_an_event_time_is_a_field_of_the_event_without_a_transformation(tmp_path: Path) -> None:
    more = "state: {key: sku}\ninputs: [{topic: raw.stock, event_time: at}]"

    assert product(tmp_path, more).inputs[0].event_time == "at"
    found = fault(tmp_path, more.replace("at}", "on_hand}"))
    assert found.field == "data_product.inputs[0].event_time"
    assert found.expected == "one of sku, units, at, number, id"


def test_a_faulty_fold_says_nothing_wrong_of_the_inputs(tmp_path: Path) -> None:
    more = "state: {key: sku}\ninputs: [{topic: raw.stock, event_time: when, key: sku}]"

    found = faults_of(lambda: product(tmp_path, more, "def fold(state, event): ...\n"))

    assert {fault.field for fault in found} == {"fold"}


# --- whether events are keyed anew ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "repartitions"),
    [
        ("[{topic: raw.stock, key: sku}]", False),
        ("[{topic: raw.stock, key: number}]", True),
        ("[raw.stock]", True),
        ("[{topic: raw.stock, key: sku}, {topic: raw.more, key: sku}]", True),
    ],
)
def test_events_are_keyed_anew_unless_one_input_is_keyed_by_the_states_key(
    tmp_path: Path, inputs: str, repartitions: bool
) -> None:
    made = product(tmp_path, f"state: {{key: sku}}\ninputs: {inputs}")

    assert state(made).repartitions is repartitions


def test_one_state_for_all_is_never_direct(tmp_path: Path) -> None:
    assert state(product(tmp_path, "state: {}\ninputs: [{topic: raw.a, key: sku}]")).repartitions


@pytest.mark.parametrize(("key", "repartitions"), [("sku", False), ("other", True), ("", True)])
def test_a_products_records_are_keyed_by_its_outputs_key(
    tmp_path: Path, key: str, repartitions: bool
) -> None:
    output = f"output: {{key: {key}}}" if key else ""
    text = (
        declaration("moves", more=output).replace("order_id", "sku").replace("customer_id", "other")
    )
    write(tmp_path, "shop/moves", {"data_product.yaml": text})

    made = product(tmp_path, "state: {key: sku}\ninputs: [{product: moves}]")

    assert made.inputs[0].key == (key or None)
    assert state(made).repartitions is repartitions


@pytest.mark.parametrize(
    ("said", "key"), [("{key: sku}", "sku"), ("{key: id}", None), ("{}", None)]
)
def test_a_folds_records_are_keyed_by_its_states_key_where_facts_have_it(
    tmp_path: Path, said: str, key: str | None
) -> None:
    code = FOLD.replace("Move", "Keyed") + "class Keyed(Move, kw_only=True): id: UUID\n"
    text = DECLARATION.replace("stock-levels", "reader") + "  inputs: [{product: stock-levels}]\n"
    write(tmp_path, "stock/reader", {"data_product.yaml": text})
    folder(tmp_path, f"state: {said}", code)

    assert load_product(tmp_path / "stock/reader").inputs[0].key == key


@pytest.mark.parametrize(
    ("inputs", "found", "help_text"),
    [
        ("[{topic: raw.stock, key: skuu}]", "'skuu'", "did you mean sku?"),
        ("[{product: moves, key: sku}]", "'sku'", "none: the other product's own key is known"),
    ],
)
def test_an_inputs_key_is_a_field_of_its_records(
    tmp_path: Path, inputs: str, found: str, help_text: str
) -> None:
    write(tmp_path, "shop/moves", {"data_product.yaml": declaration("moves")})

    fault_found = fault(tmp_path, f"state: {{key: sku}}\ninputs: {inputs}")

    assert fault_found.field == "data_product.inputs[0].key"
    assert fault_found.found == found
    assert help_text in f"{fault_found.expected} {fault_found.remedy}"


# --- the facts -----------------------------------------------------------------------------------


def test_a_state_that_lacks_the_contracts_fields_is_no_fact(tmp_path: Path) -> None:
    found = fault(tmp_path, code=FOLD.replace("Stock", "Less") + "class Less(Raw): ...\n")

    path = tmp_path / "stock/stock-levels" / FILE
    assert str(found) == (
        f"{path}:{LINE}: fold: found a state Less without on_hand, sku; expected the contract's "
        "fields; add def fact(key, window, state), which makes a fact of a state"
    )


@pytest.mark.parametrize("kind", ["int", "tuple[int, str]", "dict[str, int]"])
def test_a_state_that_is_no_record_is_no_fact(tmp_path: Path, kind: str) -> None:
    code = f"def fold(state: {kind} | None, event: Move) -> {kind}: ...\n"

    found = fault(tmp_path, code=code)

    assert found.found == f"a state that is {kind}, and no function fact"
    assert product(tmp_path, code=code + "def fact(key, window, state): ...\n").state is not None


def test_a_property_may_stand_for_a_field(tmp_path: Path) -> None:
    code = FOLD.replace("Stock", "More") + (
        "class More(msgspec.Struct):\n    sku: str\n"
        "    @property\n    def on_hand(self) -> int: return 1\n"
    )

    assert product(tmp_path, code=code).state is not None


@pytest.mark.parametrize(
    ("result", "lacking"), [("Move", "on_hand"), ("Raw | None", "on_hand, sku"), ("Stock", ""),
                            ("dict[str, Any]", ""), ("Missing", "")]
)  # fmt: skip
def test_a_fact_has_the_contracts_fields_as_far_as_it_says(
    tmp_path: Path, result: str, lacking: str
) -> None:
    code = f"{FOLD}def fact(key, window, state) -> {result}: ...\n"

    if lacking:
        name = result.partition(" ")[0]
        assert fault(tmp_path, code=code).found == f"a fact {name} without {lacking}"
    else:
        assert product(tmp_path, code=code).state is not None


@pytest.mark.parametrize(
    ("code", "field", "found"),
    [
        ("def fact(key: str, window, state: Move): ...\n", "fact", "state: Move"),
        ("def merge(a: Stock, b: Move): ...\n", "merge", "b: Move"),
        ("def merge(a, b) -> int: ...\n", "merge", "int"),
    ],
)
def test_fact_and_merge_take_the_folds_state_as_far_as_they_say(
    tmp_path: Path, code: str, field: str, found: str
) -> None:
    more = "state: {key: sku, window: {session: 1_hour}}"

    fault_found = fault(tmp_path, more, FOLD + ("" if field == "merge" else MERGE) + code)

    assert (fault_found.field, fault_found.found) == (field, found)
    assert fault_found.expected == "Stock, as fold's state"


def test_a_products_output_keeps_its_conventions(tmp_path: Path) -> None:
    made = product(tmp_path)

    assert (made.output.key, made.output.event_time) == (None, None)
    assert made.changelog_topic == "mesh.stock-levels.changelog"


def test_a_mesh_with_a_fold_loads(tmp_path: Path) -> None:
    folder(tmp_path)

    loaded: Any = load_mesh(tmp_path).products["stock-levels"].state

    assert loaded.key == "sku"


MOVES = declaration("moves", more="output: {event_time: completed_at}")
TIMED = "state: {key: order_id, window: {tumbling: 1_hour}}\ninputs: [{product: moves}]"


def test_an_event_time_that_the_fold_does_not_read_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "orders/moves", {"data_product.yaml": MOVES})
    with_key = FOLD.replace("Move", "Moved").replace("event.sku", "event.order_id")
    head = "class Moved(msgspec.Struct):\n    order_id: str\n    units: int\n"

    found = fault(tmp_path, TIMED, head + with_key)

    assert found.field == "data_product.inputs[0].event_time"
    assert found.found == "'completed_at' (the event time of moves) and no such field in Moved"
    assert found.remedy.startswith("add completed_at to Moved")

    said = head + "    completed_at: datetime\n" + with_key
    assert product(tmp_path, TIMED, said).inputs[0].event_time == "completed_at"
