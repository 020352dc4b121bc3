from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh_stream.errors import DeclarationError
from mesh_stream.product.loader import load_mesh, load_product, product_folders
from mesh_stream.product.product import (
    Action,
    Between,
    Dimension,
    Limits,
    MatchesRegex,
    NotNull,
    Rule,
    Sla,
    Support,
)
from tests.product.seed import (
    CHECK,
    DECLARATION,
    FILES,
    REGISTRY_ENTRY,
    declaration,
    faults_of,
    the_fault_of,
    write,
)

PRODUCTS = Path(__file__).parent.parent.parent / "products"


def test_the_seeds_three_documents_load_exactly_as_written(tmp_path: Path) -> None:
    product = load_product(write(tmp_path, "orders/orders-completed", FILES))

    assert (product.name, product.domain, product.owner) == (
        "orders-completed",
        "orders",
        "orders-team",
    )
    assert (product.version, product.status) == ("1.0.0", "active")
    assert product.description == "Completed order facts for analytics"
    assert product.documentation == "https://data.company.com/products/orders-completed"
    assert product.sla == Sla(freshness_seconds=900, availability=0.999)
    assert product.contract.name == "OrderCompleted"
    assert list(product.contract.fields) == [
        "order_id",
        "customer_id",
        "total_amount",
        "completed_at",
    ]
    assert len(product.contract.notes) == 1
    assert [port.topic for port in product.inputs] == ["raw.orders"]
    assert product.inputs[0].transformation is None
    assert product.output.topic == "orders.orders-completed.v1"
    assert product.output.event_time == "completed_at"
    assert product.limits == Limits()
    dlq, complete = Action.DLQ, Dimension.COMPLETENESS
    assert product.rules == (
        Rule("order_id_not_null", NotNull(), "order_id", dlq, complete),
        Rule("completed_at_not_null", NotNull(), "completed_at", dlq, complete),
        Rule(
            "total_amount_between", Between(0, 1_000_000), "total_amount", dlq, Dimension.ACCURACY
        ),
        Rule(
            "order_id_match_regex",
            MatchesRegex(r"ord_[a-z0-9]+"),
            "order_id",
            dlq,
            Dimension.CONFORMITY,
        ),
    )


def test_the_seeds_declaration_alone_is_a_product(tmp_path: Path) -> None:
    product = load_product(
        write(tmp_path, "orders/orders-completed", {"data_product.yaml": DECLARATION})
    )

    assert product.contract.name == "orders.OrdersCompleted"
    assert product.rules == ()


def test_the_repositorys_own_products_load() -> None:
    mesh = load_mesh(PRODUCTS)

    assert "orders-completed" in mesh.products
    for name, product in mesh.products.items():
        assert product.name == name
        assert load_product(product.folder).contract == product.contract


def test_the_repositorys_first_product_keeps_what_the_seed_says(tmp_path: Path) -> None:
    folder = PRODUCTS / "orders" / "orders-completed"
    seed = load_product(write(tmp_path, "orders/orders-completed", FILES))

    rest = iter((folder / "data_product.yaml").read_text().splitlines())
    assert [line for line in DECLARATION.splitlines() if line not in rest] == []
    fields = load_product(folder).contract.fields
    assert list(fields.items())[: len(seed.contract.fields)] == list(seed.contract.fields.items())
    (check,) = (folder / "src" / "quality").glob("*.py")

    def rules(text: str) -> list[str]:
        return [line.strip() for line in text.splitlines() if "expect(" in line]

    assert rules(check.read_text()) == rules(CHECK)


def test_what_is_said_beyond_the_seed_reaches_the_product(tmp_path: Path) -> None:
    more = """
tags: [sales]
support: [{channel: "#orders", url: "https://chat"}, {channel: mail}]
limits: {fanout: 5}
status: draft
version: 3.0.0
domain: orders
quality:
  - {rule: not_null, column: customer_id, action: warn}
"""
    files = {**FILES, "data_product.yaml": declaration(more=more)}
    product = load_product(write(tmp_path, "orders/orders-completed", files))

    assert product.tags == ("sales",)
    assert product.support == (Support("#orders", "https://chat"), Support("mail", ""))
    assert product.limits == Limits(fanout=5)
    assert (product.status, product.output.topic) == ("draft", "orders.orders-completed.v3")
    assert product.rules[-1].name == "customer_id_not_null"
    assert product.rules[-1].action is Action.WARN


def test_code_is_executed_once_in_one_load(tmp_path: Path) -> None:
    log = tmp_path / "log"
    mark = f"with open({str(log)!r}, 'a') as log: log.write('x')\n"
    more = """
inputs: [raw.a, raw.b, {topic: raw.c, transformation: "src/transformations/t.py:f"}]
transformation: src/transformations/t.py
quality: [src/quality/validate_orders_completed.py]
"""
    files = {
        "data_product.yaml": declaration(more=more),
        "src/transformations/t.py": mark + "def f(order): ...\n",
        "src/quality/validate_orders_completed.py": mark + CHECK,
    }

    product = load_product(write(tmp_path / "p", "orders/orders-completed", files))

    assert log.read_text() == "xx"
    assert len(product.rules) == 4


def test_two_roots_load_in_one_process_one_after_the_other(tmp_path: Path) -> None:
    code = "LIMIT = {}\ndef f(order): return {{'limit': LIMIT}}\n"
    products = []
    for limit in (1, 2):
        files = {**FILES, "src/transformations/t.py": code.format(limit)}
        write(tmp_path / str(limit), "orders/orders-completed", files)
        products.append(load_mesh(tmp_path / str(limit)).products["orders-completed"])

    limits = []
    for product in products:
        applied = product.inputs[0].transformation
        assert applied is not None
        limits.append(applied.function({})["limit"])
    assert limits == [1, 2]


def test_messages_name_files_as_the_user_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "products/orders/orders-completed", {"data_product.yaml": "a: 1\n"})
    monkeypatch.chdir(tmp_path)
    place = "products/orders/orders-completed/data_product.yaml:1:"

    assert str(faults_of(lambda: load_mesh(Path("products")))[0]).startswith(place)
    monkeypatch.chdir(tmp_path / "products" / "orders" / "orders-completed")
    assert str(faults_of(lambda: load_product(Path()))[0]).startswith("data_product.yaml:1:")


def test_a_products_folder_may_be_named_by_a_dot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write(tmp_path, "orders/orders-completed", FILES))

    assert load_product(Path()).domain == "orders"
    assert load_product(Path("../orders-completed")).domain == "orders"


# --- folders -------------------------------------------------------------------------------------


def test_product_folders_are_found_without_being_read(tmp_path: Path) -> None:
    write(tmp_path, "orders/aa", {"data_product.yaml": "broken: ["})
    write(tmp_path, "shop/bb", {"data_product.yaml": ""})
    write(tmp_path, ".git/hooks", {"src/x": ""})
    write(tmp_path, "orders/__pycache__", {"src": ""})
    write(tmp_path, "orders/notes", {"README.md": "no product"})

    assert product_folders(tmp_path) == {
        "aa": tmp_path / "orders" / "aa",
        "bb": tmp_path / "shop" / "bb",
    }


def test_a_name_is_unique_in_the_mesh(tmp_path: Path) -> None:
    for domain in ("orders", "shop"):
        write(tmp_path, f"{domain}/customers", {"data_product.yaml": declaration("customers")})

    found = the_fault_of(lambda: load_mesh(tmp_path))

    assert found.found == "a second product customers"
    assert found.path.parent.parent.name == "shop"


@pytest.mark.parametrize("place", ["", "orders/", "orders/sub/orders-completed/"])
def test_a_product_at_another_depth_is_not_passed_over(tmp_path: Path, place: str) -> None:
    write(tmp_path, place or ".", {"data_product.yaml": DECLARATION})

    assert the_fault_of(lambda: load_mesh(tmp_path)).found == "a product at another depth"


@pytest.mark.parametrize("file", ["src/quality/a.py", "schema/a.avsc", "data_product.yml"])
def test_a_folder_that_looks_like_a_product_is_not_passed_over(tmp_path: Path, file: str) -> None:
    write(tmp_path, "orders/orders-completed", {file: ""})

    assert "without data_product.yaml" in the_fault_of(lambda: load_mesh(tmp_path)).found


def test_a_missing_root_is_a_fault(tmp_path: Path) -> None:
    assert the_fault_of(lambda: load_mesh(tmp_path / "nope")).found == "no folder"


def test_an_empty_root_is_an_empty_mesh(tmp_path: Path) -> None:
    assert load_mesh(tmp_path).products == {}


@pytest.mark.parametrize(
    ("product", "text", "field", "expected"),
    [
        ("orders/other", DECLARATION, "name", "'other', the folder's name"),
        ("orders/orders-completed", declaration(more="domain: shop"), "domain", "'orders'"),
        ("Orders/orders-completed", DECLARATION, "domain", "a folder with the domain's id"),
        ("raw/orders-completed", DECLARATION, "domain", "a domain whose topics"),
        ("dlq/orders-completed", DECLARATION, "domain", "a domain whose topics"),
        ("mesh/orders-completed", DECLARATION, "domain", "a domain whose topics"),
    ],
)
def test_names_are_those_of_the_folders(
    tmp_path: Path, product: str, text: str, field: str, expected: str
) -> None:
    folder = write(tmp_path, product, {"data_product.yaml": text})

    found = the_fault_of(lambda: load_product(folder))

    assert found.field == f"data_product.{field}"
    assert found.expected.startswith(expected)


# --- every fault at once -------------------------------------------------------------------------


def test_every_fault_of_every_file_is_found_at_once(tmp_path: Path) -> None:
    files = {
        "data_product.yaml": declaration(
            "orders-complete",
            more="""
foo: 1
output: {key: order, partitions: 3}
inputs: [{topic: raw.orders, event_time: att}, {product: nope}]
quality:
  - {rule: between, column: total_amount, min: 5, max: 1}
  - src/nothing.py
""",
        ).replace("99.9%", "101%"),
        "schema/orders-completed.yaml": REGISTRY_ENTRY.replace("customer_id", "customer"),
        "schema/notes.json": "{}",
        "src/quality/a.py": CHECK.replace('null("order_id")', 'null("order_idd")'),
        "src/quality/b.py": "from mesh_stream.quality import expect\nexpect(1)\n",
        "src/quality/c.py": "x = 1\n",
        "src/transformations/t.py": "async def f(order): ...\n",
        "src/transform/t.py": "",
    }
    write(tmp_path, "orders/orders-completed", files)
    write(tmp_path, "orders/second", {"data_product.yaml": "data_product: {name: second}\n"})

    told = "\n".join(str(fault) for fault in faults_of(lambda: load_mesh(tmp_path)))

    for part in (
        "data_product.yaml:2: data_product.name: found 'orders-complete'",
        "data_product.yaml:7: data_product.sla.availability: found '101%'",
        "data_product.yaml:14: data_product.foo: found the unknown key 'foo'",
        "data_product.yaml:15: data_product.output.key: found 'order'",
        "data_product.yaml:16: data_product.inputs[1].product: found 'nope'",
        "data_product.yaml:18: data_product.quality[0]: found no value between 5 and 1",
        "data_product.yaml:19: data_product.quality[1]: found 'src/nothing.py'",
        "data_product.yaml:10: customer_id: found the field customer_id",
        "schema/notes.json: found a .json file",
        "src/quality/a.py:5: order_idd not_null: found the column order_idd",
        "src/quality/b.py:2: found TypeError",
        "src/quality/c.py: found no check",
        "src/transformations/t.py:1: f: found an async function",
        "src/transform: found transform; expected transformations/",
        "second/data_product.yaml:1: data_product.owner: found nothing",
        "second/data_product.yaml:1: data_product.sla: found nothing",
    ):
        assert part in told


def test_a_stand_in_for_a_faulty_section_raises_no_fault_of_its_own(tmp_path: Path) -> None:
    more = "output: {partitions: x}\ninputs: [{topic: raw.orders, format: xml}]\nversion: 1"
    text = declaration(more=more).replace("  schema:\n    - order_id: string", "  schema:\n    - 3")
    folder = write(tmp_path, "orders/orders-completed", {"data_product.yaml": text})

    fields = {fault.field for fault in faults_of(lambda: load_product(folder))}

    assert fields == {
        "data_product.output.partitions",
        "data_product.inputs[0].format",
        "data_product.version",
        "data_product.schema[0]",
    }


def test_code_is_checked_even_where_the_declaration_cannot_be_read(tmp_path: Path) -> None:
    files = {
        "data_product.yaml": "data_product: [",
        "schema/a.avsc": "{",
        "src/quality/a.py": "def",
        "src/transformations/t.py": "def",
    }
    folder = write(tmp_path, "orders/orders-completed", files)

    assert {fault.path.name for fault in faults_of(lambda: load_product(folder))} == {
        "data_product.yaml",
        "a.avsc",
        "a.py",
        "t.py",
    }


def test_a_product_without_any_schema_is_told_where_to_put_it(tmp_path: Path) -> None:
    text = DECLARATION[: DECLARATION.index("  schema:")]
    folder = write(tmp_path, "orders/orders-completed", {"data_product.yaml": text})

    found = the_fault_of(lambda: load_product(folder))

    assert (found.field, found.found) == ("data_product.schema", "nothing")


# --- fuzz ----------------------------------------------------------------------------------------

SEED = yaml.safe_load(
    declaration(
        more="""
domain: orders
inputs: [{topic: raw.orders, format: json, event_time: completed_at}, {product: orders-completed}]
output: {key: order_id, event_time: completed_at, partitions: 3, retention: 90_days}
quality: [{rule: between, column: total_amount, min: 0, max: 9}, src/checks.py]
limits: {fanout: 3}
transformation: src/t.py:f
tags: [a]
"""
    )
)

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from(["string?", "decimal(4,2)", "1_day", "order_id", "../x.py", "orders", "a:b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "type", "topic", "product", "rule", "column", "min", "file"])
            | st.text(max_size=4),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def places(data: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    if isinstance(data, dict):
        for key, value in data.items():
            yield from places(value, (*place, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from places(value, (*place, index))


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """The seed's data with one to four of its parts replaced, removed or added to."""
    data = copy.deepcopy(SEED)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.sampled_from(list(places(data))))
        if not place:
            continue
        holder = data
        for step in place[:-1]:
            holder = holder[step]
        edit = draw(st.sampled_from(("replace", "replace", "remove", "add")))
        if edit == "replace":
            holder[place[-1]] = draw(JUNK)
        elif edit == "remove":
            del holder[place[-1]]
        elif isinstance(holder, dict):
            holder[draw(st.text(max_size=5))] = draw(JUNK)
        else:
            holder.append(draw(JUNK))
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("fuzz"), "orders/orders-completed", FILES)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=mutated())
def test_a_declaration_with_any_part_changed_loads_or_is_a_declaration_error(
    folder: Path, data: Any
) -> None:
    (folder / "data_product.yaml").write_text(json.dumps(data))

    with contextlib.suppress(DeclarationError):
        load_product(folder)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    file=st.sampled_from(("data_product.yaml", "schema/orders-completed.yaml")),
    at=st.integers(0, 400),
    gone=st.integers(0, 12),
    put=st.text(alphabet="abé01:-[]{}&*!|>'\"\n #?%@`,~\t\\\0", max_size=8),
)
def test_a_file_with_any_characters_changed_loads_or_is_a_declaration_error(
    folder: Path, file: str, at: int, gone: int, put: str
) -> None:
    for name, text in FILES.items():
        changed = text[:at] + put + text[at + gone :] if name == file else text
        (folder / name).write_text(changed)

    with contextlib.suppress(DeclarationError):
        load_product(folder)
