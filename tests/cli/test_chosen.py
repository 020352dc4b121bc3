from __future__ import annotations

from functools import partial
from pathlib import Path

import click
import pytest

from mesh_stream.cli.chosen import choose, load_chosen
from mesh_stream.product.loader import load_mesh
from tests.product.seed import DECLARATION, FILES, declaration, faults_of, the_fault_of, write

BROKEN = {"data_product.yaml": "a: ["}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three sound products in two domains."""
    root = tmp_path / "products"
    write(root, "orders/orders-completed", FILES)
    reads = "inputs: [{product: orders-completed}]"
    write(root, "orders/orders-late", {"data_product.yaml": declaration("orders-late", more=reads)})
    write(root, "shop/customers", {"data_product.yaml": declaration("customers", more=reads)})
    return root


def names(root: Path, *named: str, domain: str | None = None) -> list[str]:
    return [product.name for product in load_chosen(root, named, domain)]


def complaint(root: Path, *named: str, domain: str | None = None) -> str:
    with pytest.raises(click.UsageError) as caught:
        load_chosen(root, named, domain)
    return caught.value.message


def test_everything_is_chosen_where_nothing_is_named(root: Path) -> None:
    assert names(root) == ["customers", "orders-completed", "orders-late"]


def test_what_is_named_is_chosen_once_and_in_its_order(root: Path) -> None:
    assert names(root, "orders-late", "customers", "orders-late") == ["orders-late", "customers"]


def test_a_domain_chooses_its_products(root: Path) -> None:
    assert names(root, domain="orders") == ["orders-completed", "orders-late"]


def test_a_mesh_that_is_loaded_is_chosen_from_alike(root: Path) -> None:
    mesh = load_mesh(root)
    assert choose(mesh, ["customers"], None) == [mesh.products["customers"]]
    assert [one.name for one in choose(mesh, [], "orders")] == ["orders-completed", "orders-late"]


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"shop/customers": BROKEN},
        {"shop/prices": {"src/transformations/prices.py": "raise RuntimeError"}},
        {"shop/prices/v2": FILES},
        {"a/twins": {"data_product.yaml": ""}, "b/twins": {"data_product.yaml": ""}},
    ],
    ids=["broken", "no declaration", "at another depth", "twins"],
)
def test_a_fault_in_another_domain_is_no_concern_of_a_chosen_product(
    root: Path, elsewhere: dict[str, dict[str, str]]
) -> None:
    for place, files in elsewhere.items():
        write(root, place, files)
    assert names(root, "orders-late") == ["orders-late"]
    assert names(root, domain="orders") == ["orders-completed", "orders-late"]
    assert faults_of(lambda: load_chosen(root, (), None)), "without a name, all have to be sound"


def test_the_code_of_what_is_not_chosen_is_not_run(root: Path, tmp_path: Path) -> None:
    touched = tmp_path / "run"
    code = f"from pathlib import Path\nPath({str(touched)!r}).touch()\ndef f(r: dict): return r\n"
    write(root, "orders/orders-completed", {"src/transformations/f.py": code})
    assert names(root, "orders-late", "customers") == ["orders-late", "customers"]
    assert not touched.exists()


def test_a_fault_of_what_a_chosen_product_reads_is_told(root: Path) -> None:
    write(root, "orders/orders-completed", {**FILES, **BROKEN})
    assert the_fault_of(lambda: load_chosen(root, ["customers"], None)).path == (
        root / "orders" / "orders-completed" / "data_product.yaml"
    )


def test_faults_of_all_chosen_products_are_told_at_once(root: Path) -> None:
    for product in ("orders-completed", "orders-late"):
        text = declaration(product, more="foo: 1")
        write(root, f"orders/{product}", {"data_product.yaml": text})
    faults = faults_of(lambda: load_chosen(root, (), "orders"))
    assert {fault.path.parent.name for fault in faults} == {"orders-completed", "orders-late"}


def test_the_standards_hold_for_a_chosen_product(root: Path) -> None:
    write(root, "", {"governance.yaml": "a: ["})
    assert the_fault_of(lambda: load_chosen(root, ["orders-late"], None)).path == (
        root / "governance.yaml"
    )


@pytest.mark.parametrize("place", ["billing/orders-late", "zebras/orders-late"])
def test_a_product_whose_name_is_taken_elsewhere_is_refused(root: Path, place: str) -> None:
    write(root, place, {"data_product.yaml": DECLARATION})
    for named, domain in ((["orders-late"], None), ([], "orders")):
        faults = faults_of(partial(load_chosen, root, named, domain))
        assert "a second product orders-late" in [fault.found for fault in faults]
    assert names(root, "customers") == ["customers"]


@pytest.mark.parametrize(
    ("place", "file"),
    [("orders/prices", "schema/prices.avsc"), ("orders/prices/v2", "data_product.yaml")],
)
def test_what_is_almost_a_product_of_a_named_domain_is_told(
    root: Path, place: str, file: str
) -> None:
    write(root, place, {file: ""})
    assert the_fault_of(lambda: load_chosen(root, (), "orders"))
    assert names(root, domain="shop") == ["customers"]
    assert names(root, "orders-late") == ["orders-late"]


def test_hidden_folders_hold_no_products(root: Path) -> None:
    write(root, ".git/hooks", FILES)
    write(root, "orders/_drafts", FILES)
    assert complaint(root, "hooks").endswith("there are: customers, orders-completed, orders-late")
    assert names(root, domain="orders") == ["orders-completed", "orders-late"]


def test_an_unknown_product_is_told_with_the_closest(root: Path) -> None:
    assert complaint(root, "orders-complete") == (
        "no product is called 'orders-complete', did you mean orders-completed?; "
        "there are: customers, orders-completed, orders-late"
    )
    write(root, "shop/customers", BROKEN)
    assert "did you mean customers?" in complaint(root, "customer")


def test_a_product_of_another_domain_is_told(root: Path) -> None:
    assert complaint(root, "customers", domain="orders") == (
        "no product of the domain orders is called 'customers'; "
        "there are: orders-completed, orders-late"
    )


def test_an_unknown_domain_is_told_with_the_closest(root: Path) -> None:
    assert complaint(root, domain="order") == (
        "no product is in the domain 'order', did you mean orders?; there are: orders, shop"
    )


def test_a_folder_without_products_is_told(tmp_path: Path) -> None:
    for named in ((), ("orders-late",)):
        assert "mesh-stream init" in complaint(tmp_path, *named)


def test_no_folder_at_all_is_a_fault(tmp_path: Path) -> None:
    assert the_fault_of(lambda: load_chosen(tmp_path / "nope", ["a"], None)).found == "no folder"
