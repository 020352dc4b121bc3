from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mesh_stream.cli import outcome_of
from mesh_stream.product.yaml_source import read_yaml
from tests.product import folds
from tests.product.seed import FILES, declaration, write

BROKEN = {**FILES, "data_product.yaml": declaration("other", more="foo: 1")}


@pytest.fixture
def products(tmp_path: Path) -> Path:
    write(tmp_path, "orders/orders-completed", FILES)
    return tmp_path


def run(*arguments: object) -> int:
    return outcome_of(["validate", *map(str, arguments)])


def test_a_sound_mesh_is_told_with_what_was_completed(
    products: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--products", products) == 0

    out = capsys.readouterr().out.splitlines()
    assert out[0] == "orders-completed: orders.orders-completed.v1, 4 fields, 4 rules"
    assert out[1].startswith("  note: total_amount is declared as a decimal without precision")
    assert out[2] == "1 product is sound"


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ("state: {key: sku}",
         "one for each sku; events go through mesh.stock-levels.repartition"),
        ("state: {}",
         "one for the whole product; events go through mesh.stock-levels.repartition"),
        ("state: {key: sku, window: {tumbling: 90_minutes}}\ninputs: [{topic: raw.a, key: sku}]",
         "one for each sku, in windows of 90_minutes; events come keyed by it"),
        ("state: {key: sku, window: {hopping: {size: 1_day, advance: 1_hour}}}",
         ("one for each sku, in windows of 1_day, one every 1_hour; events go through "
          "mesh.stock-levels.repartition")),
        ("state: {key: sku, window: {session: 30_minutes}}",
         ("one for each sku, in sessions that end after 30_minutes; events go through "
          "mesh.stock-levels.repartition")),
    ],
)  # fmt: skip
def test_what_a_product_remembers_is_told(
    tmp_path: Path, more: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folds.folder(tmp_path, more, folds.FOLD + "def merge(a: Stock, b: Stock) -> Stock: ...\n")

    assert run(tmp_path) == 0

    assert capsys.readouterr().out.splitlines() == [
        "stock-levels: stock.stock-levels.v1, 3 fields, 0 rules",
        f"  state: {line}",
        "1 product is sound",
    ]


def test_every_fault_is_printed_and_the_exit_code_is_2(
    products: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(products, "orders/orders-completed", BROKEN)
    write(products, "shop/customers", {"data_product.yaml": "a: ["})

    assert run("--products", products) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert "orders-completed/data_product.yaml:2: data_product.name: found 'other'" in printed.err
    assert "data_product.foo: found the unknown key 'foo'" in printed.err
    assert "customers/data_product.yaml:1: found broken YAML" in printed.err
    assert "3 faults" in printed.err


@pytest.mark.parametrize(
    "path", ["orders/orders-completed", "orders/orders-completed/data_product.yaml", "orders", "."]
)
def test_a_path_may_be_a_product_its_file_a_domain_or_all(
    products: Path, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(products, "shop/customers", {"data_product.yaml": "a: ["})

    assert run(products / path) == (2 if path == "." else 0)

    assert ("1 product is sound" in capsys.readouterr().out) is (path != ".")


def test_several_paths_are_validated_together(
    products: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(products, "shop/customers", {"data_product.yaml": declaration("customers")})

    assert run(products / "shop/customers", products / "orders") == 0

    assert capsys.readouterr().out.endswith("2 products are sound\n")


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_json_of_a_sound_mesh(products: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json", products) == 0

    told = document(capsys)
    assert told["faults"] == []
    (product,) = told["products"]
    assert product["name"] == "orders-completed"
    assert product["topic"] == "orders.orders-completed.v1"
    assert product["inputs"] == ["raw.orders"]
    assert product["rules"][0] == "order_id_not_null"
    assert len(product["notes"]) == 1


def test_json_tells_what_a_product_remembers(
    products: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folds.folder(products, "state: {key: sku, window: {tumbling: 1_hour}, emit: on_close}")

    assert run("--json", products) == 0

    assert [product["state"] for product in document(capsys)["products"]] == [
        None,
        {
            "key": "sku",
            "window": {"size": 3_600_000, "advance": 3_600_000},
            "emit": "on_close",
            "changelog": "mesh.stock-levels.changelog",
            "repartition": "mesh.stock-levels.repartition",
        },
    ]


def test_json_of_a_faulty_mesh_is_one_document_and_exits_2(
    products: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(products, "orders/orders-completed", BROKEN)

    assert run("--json", products) == 2

    name, foo = document(capsys)["faults"]
    assert name["line"] == 2
    assert name["field"] == "data_product.name"
    assert name["found"] == "'other'"
    assert "data_product.yaml:14: data_product.foo: found the unknown key 'foo'" in foo["text"]


def test_nothing_found_is_not_all_well(tmp_path: Path) -> None:
    assert run("--products", tmp_path) == 2


@pytest.mark.parametrize("path", ["nope", "nope/data_product.yaml"])
def test_a_path_that_is_not_there(
    tmp_path: Path, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / path) == 2

    assert "there is no folder" in capsys.readouterr().err


def test_the_json_schema_is_printed_for_editors(
    products: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--json-schema") == 0

    seed = read_yaml(products / "orders/orders-completed/data_product.yaml").data
    jsonschema.Draft202012Validator(document(capsys)).validate(seed)
