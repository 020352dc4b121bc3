"""`mesh-stream init` and `mesh-stream test`: from nothing to a tested product, without a broker."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mesh_stream.cli import outcome_of
from mesh_stream.product.loader import load_product
from mesh_stream.testing import ProductDriver

ROOT = Path(__file__).parents[2]

Said = tuple[int, str, str]


class Shop:
    """A folder of products, and the command line at work on it."""

    def __init__(self, root: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self._capfd = capfd

    def run(self, *arguments: str) -> Said:
        """Exit code, standard output, standard error."""
        self._capfd.readouterr()
        code = outcome_of([*arguments, "--products", str(self.root)])
        out, err = self._capfd.readouterr()
        return code, out, err

    def made(self, name: str = "payments-settled", *, pytest: bool = False) -> Path:
        """A generated product; its pytest file, which takes a process to run, only where asked."""
        code, _, err = self.run("init", f"payments/{name}")
        assert code == 0, err
        folder = self.root / "payments" / name
        if not pytest:
            (folder / "tests" / f"test_{name.replace('-', '_')}.py").unlink()
        return folder


@pytest.fixture
def shop(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Shop:
    return Shop(tmp_path / "products", capfd)


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


# init


def test_a_generated_product_is_sound_and_tested_as_it_is(shop: Shop) -> None:
    code, out, err = shop.run("init", "payments/payments-settled")

    folder = shop.root / "payments" / "payments-settled"
    assert code == 0
    assert [Path(line) for line in out.split()] == [folder / path for path in files_in_order()]
    assert f"mesh-stream test payments-settled --products {shop.root}" in err
    assert shop.run("validate")[0] == 0
    code, out, _ = shop.run("test", "payments-settled", "--strict")
    assert (code, out) == (0, "payments-settled: passed: 6 of 6 examples hold, tests passed\n")


def files_in_order() -> list[str]:
    return [
        "data_product.yaml",
        "src/transformations/payments_settled.py",
        "src/quality/validate_payments_settled.py",
        "tests/examples.yaml",
        "tests/test_payments_settled.py",
        "docs/README.md",
    ]


def test_a_generated_product_runs(shop: Shop) -> None:
    driver = ProductDriver.load(shop.made())

    driver.send(
        {"id": "e1", "status": "settled", "amount": 1, "occurred_at": "2026-01-01T00:00:00Z"}
    )

    assert driver.product.output.topic == "payments.payments-settled.v1"
    assert [port.topic for port in driver.product.inputs] == ["raw.payments"]
    assert driver.published[0].key == b"e1"


@pytest.mark.parametrize(
    "product", ["class/import", "a1/b-2", "payments/none", f"x{'a' * 48}/y{'b' * 48}"]
)
def test_any_valid_id_makes_a_sound_product(shop: Shop, product: str) -> None:
    assert shop.run("init", product)[0] == 0

    code, out, err = shop.run("test", "--strict")
    assert code == 0, out + err


NO_IDS = [
    "payments",
    "payments/",
    "/settled",
    "Payments/settled",
    "payments/a",
    "payments/1st",
    "a_b/cd",
    "../settled",
    "payments/..",
    "payments/settled/more",
    "pay.ments/settled",
    "",
    "payments/settled ",
    f"payments/{'a' * 50}",
    "payments/sett\nled",
]


@pytest.mark.parametrize("product", NO_IDS)
def test_what_is_no_pair_of_ids_is_refused_and_nothing_written(shop: Shop, product: str) -> None:
    code, _, err = shop.run("init", product)

    assert code == 2
    assert "expected DOMAIN/PRODUCT, such as orders/orders-refunded" in err
    assert not shop.root.exists()


def test_nothing_is_overwritten(shop: Shop) -> None:
    folder = shop.made(pytest=True)
    before = files(folder)
    for path in (folder, shop.root / "payments" / "empty", shop.root / "payments" / "dangling"):
        if path.name == "empty":
            path.mkdir()
        if path.name == "dangling":
            path.symlink_to("nowhere")
        code, _, err = shop.run("init", f"payments/{path.name}")
        assert code == 2
        assert f"{path} is there already; nothing was changed" in err

    assert files(folder) == before


def test_a_name_that_another_domain_uses_is_refused(shop: Shop) -> None:
    shop.made("settled")

    code, _, err = shop.run("init", "refunds/settled")

    assert code == 2
    assert "names are unique in the mesh" in err
    assert not (shop.root / "refunds").exists()


def test_a_domain_that_means_something_else_is_refused_by_its_place_to_be(shop: Shop) -> None:
    code, _, err = shop.run("init", "raw/settled")

    assert code == 2
    assert err.startswith(f"{shop.root / 'raw' / 'settled' / 'data_product.yaml'}:")
    assert not shop.root.exists()


def test_the_meshs_own_standards_hold_before_anything_is_written(shop: Shop) -> None:
    shop.root.mkdir()
    governance = shop.root / "governance.yaml"
    governance.write_text("governance: {policies: {domains: [orders], owner: '.*-squad'}}")

    code, _, err = shop.run("init", "payments/settled")
    assert code == 2
    assert "found 'payments'" in err
    assert "found 'payments-team'" in err
    assert str(shop.root / "payments" / "settled" / "data_product.yaml") in err
    assert not (shop.root / "payments").exists()

    code, _, err = shop.run("init", "orders/settled", "--owner", "pay: squad #1-squad")
    assert code == 0, err
    assert load_product(shop.root / "orders" / "settled").owner == "pay: squad #1-squad"


def test_a_generated_product_meets_every_requirement_that_governance_knows(shop: Shop) -> None:
    shop.root.mkdir()
    every = "[documentation, support, tags, field_descriptions, quality]"
    (shop.root / "governance.yaml").write_text(f"governance: {{policies: {{require: {every}}}}}")

    shop.made()


# test


def test_every_product_is_tested_where_none_is_named(shop: Shop) -> None:
    shop.made("settled")
    shop.made("opened")

    code, out, _ = shop.run("test")
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()] == ["opened", "settled"]

    code, out, _ = shop.run("test", "settled")
    assert [line.split(":")[0] for line in out.splitlines()] == ["settled"]


def test_an_example_that_does_not_hold_fails_with_its_place_and_difference(shop: Shop) -> None:
    folder = shop.made()
    edit(
        folder / "tests" / "examples.yaml",
        "{id: e1, amount: 12.50, occ",
        "{id: e1, amount: 12.51, occ",
    )

    code, out, _ = shop.run("test")

    assert code == 1
    assert out.splitlines()[:3] == [
        "payments-settled: failed: 5 of 6 examples hold, no tests",
        f"  {folder / 'tests' / 'examples.yaml'}:4: a settled event is a fact",
        "    facts[0].amount: expected 12.51, found 12.50",
    ]


def test_a_test_that_fails_is_shown(shop: Shop) -> None:
    folder = shop.made(pytest=True)
    edit(folder / "tests" / "test_payments_settled.py", 'Decimal("0.01"), ', 'Decimal("0.02"), ')

    code, out, _ = shop.run("test")

    assert code == 1
    assert out.startswith("payments-settled: failed: 6 of 6 examples hold, tests failed\n")
    assert "test_amounts_are_exact" in out
    assert "1 failed" in out


def test_a_change_of_code_that_no_longer_does_what_examples_say_fails(shop: Shop) -> None:
    folder = shop.made()
    edit(folder / "src/transformations/payments_settled.py", '!= "settled"', '== "settled"')

    assert shop.run("test")[0] == 1


def test_a_rule_that_no_example_proves_is_said_and_with_strict_fails(shop: Shop) -> None:
    folder = shop.made()
    file = folder / "src" / "quality" / "validate_payments_settled.py"
    file.write_text(file.read_text() + '    expect(df).column_values_to_match_regex("id", "e")\n')

    code, out, _ = shop.run("test")
    assert code == 0
    assert "payments-settled: passed" in out
    assert "  rule id_match_regex: no example is stopped by it alone" in out

    code, out, _ = shop.run("test", "--strict")
    assert code == 1
    assert "payments-settled: failed" in out


def test_a_product_without_examples_and_tests_is_untested_which_is_not_well(shop: Shop) -> None:
    folder = shop.made()
    for file in (folder / "tests").iterdir():
        file.unlink()

    code, out, _ = shop.run("test")

    assert code == 1
    assert out.startswith("payments-settled: untested: 0 examples, no tests\n")
    assert f"nothing was tested: write {folder / 'tests' / 'examples.yaml'}" in out


def test_a_test_file_without_a_test_is_no_test(shop: Shop) -> None:
    folder = shop.made()
    (folder / "tests" / "examples.yaml").unlink()
    (folder / "tests" / "test_payments_settled.py").write_text("")

    code, out, _ = shop.run("test")

    assert (code, out.splitlines()[0]) == (1, "payments-settled: untested: 0 examples, no tests")


def test_either_examples_or_tests_are_enough(shop: Shop) -> None:
    shop.made()
    code, out, _ = shop.run("test")
    assert (code, out) == (0, "payments-settled: passed: 6 of 6 examples hold, no tests\n")

    other = shop.made("opened", pytest=True)
    (other / "tests" / "examples.yaml").unlink()
    code, out, _ = shop.run("test", "opened")
    assert code == 0
    assert out.startswith("opened: passed: 0 examples, tests passed\n")


def test_tests_that_cannot_run_are_not_passed_over(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.made(pytest=True)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    code, out, _ = shop.run("test")

    assert code == 1
    assert "6 of 6 examples hold, tests not run" in out
    assert "its tests need pytest, which is not installed: pip install pytest" in out


def test_two_products_may_have_test_files_of_one_name(shop: Shop) -> None:
    for name in ("settled", "opened"):
        tests = shop.made(name, pytest=True) / "tests"
        (tests / f"test_{name}.py").rename(tests / "test_product.py")

    assert shop.run("test")[0] == 0


def test_a_product_folder_is_left_as_it_was(shop: Shop) -> None:
    folder = shop.made(pytest=True)
    before = files(folder)

    shop.run("test")

    assert files(folder) == before


def test_json_is_one_document_and_nothing_else(shop: Shop) -> None:
    folder = shop.made(pytest=True)
    edit(folder / "tests" / "examples.yaml", "rule: id_not_null", "rule: id_not_nul")

    code, out, _ = shop.run("test", "--json")

    document: dict[str, Any] = json.loads(out)
    (product,) = document["products"]
    assert (code, document["passed"], product["outcome"]) == (1, False, "failed")
    assert (product["name"], product["pytest"]) == ("payments-settled", "passed")
    assert product["unproven_rules"] == ["id_not_null"]
    (failed,) = [example for example in product["examples"] if example["differences"]]
    assert failed["name"] == "without an id it is nobody's"
    assert failed["path"] == str(folder / "tests" / "examples.yaml")
    assert "expected contract id_not_nul, found contract id_not_null" in failed["differences"][0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobodys"], "no product is called 'nobodys'; there are: payments-settled"),
        (["--domain", "orders"], "no product is in the domain 'orders'; there are: payments"),
        (["--fast"], "No such option"),
    ],
)
def test_a_wrong_usage_exits_2(shop: Shop, arguments: list[str], said: str) -> None:
    shop.made()

    code, out, err = shop.run("test", *arguments)

    assert (code, out) == (2, "")
    assert said in re.sub(r"\s+", " ", err)


def test_a_faulty_declaration_exits_2_with_its_place(shop: Shop) -> None:
    folder = shop.made()
    edit(folder / "data_product.yaml", "freshness: 15_minutes", "freshness: soon")

    code, out, err = shop.run("test")

    assert (code, out) == (2, "")
    assert "data_product.yaml:13: data_product.sla.freshness: found 'soon'" in err


def test_a_faulty_example_file_exits_2_with_its_place(shop: Shop) -> None:
    folder = shop.made()
    edit(folder / "tests" / "examples.yaml", "filtered: not_settled", "fitered: not_settled")

    code, _, err = shop.run("test")

    assert code == 2
    assert "examples.yaml:11: examples[1].fitered: found the unknown key 'fitered'" in err


def test_without_a_product_there_is_nothing_to_test(shop: Shop) -> None:
    shop.root.mkdir()

    code, _, err = shop.run("test")

    assert code == 2
    assert "mesh-stream init" in err


def test_the_products_of_this_repository_are_tested_and_every_rule_is_proven() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mesh_stream.cli", "test", "--strict", "--json"],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    for product in json.loads(done.stdout)["products"]:
        assert product["examples"]
        assert product["pytest"] == "passed"
