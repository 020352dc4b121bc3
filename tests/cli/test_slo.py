from __future__ import annotations

from pathlib import Path

import pytest

from mesh_stream.cli import outcome_of
from tests.product.seed import DECLARATION, FILES, declaration, write


@pytest.fixture
def products(tmp_path: Path) -> Path:
    write(tmp_path / "products", "orders/orders-completed", FILES)
    return tmp_path / "products"


def run(products: Path, out: Path, *more: str) -> int:
    return outcome_of(["slo", "--products", str(products), "--out", str(out), *more])


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_it_writes_everything_and_twice_the_same(
    products: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(products, tmp_path / "one") == 0
    assert run(products, tmp_path / "two") == 0

    assert "11 files for 1 product" in capsys.readouterr().out
    found = contents(tmp_path / "one")
    assert found == contents(tmp_path / "two")
    assert found.keys() == {
        "SHA256SUMS",
        "prometheus.yml",
        "rules/mesh.yml",
        "rules/orders.orders-completed.yml",
        "tests/mesh.yml",
        "tests/orders.orders-completed.yml",
        "openslo/mesh.yaml",
        "openslo/orders.orders-completed.yaml",
        "dashboards/mesh.json",
        "dashboards/orders.orders-completed.json",
        "grafana/datasources/mesh.yaml",
        "grafana/dashboards/mesh.yaml",
    }


def test_check_tells_a_changed_promise_and_writes_nothing(
    products: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "slo"
    assert run(products, out) == 0
    assert run(products, out, "--check") == 0
    before = contents(out)
    file = products / "orders" / "orders-completed" / "data_product.yaml"
    file.write_text(DECLARATION.replace("99.9%", "99%"))
    capsys.readouterr()

    assert run(products, out, "--check") == 1

    printed = capsys.readouterr()
    assert "rules/orders.orders-completed.yml is not what the declarations say" in printed.out
    assert "run `mesh-stream slo --out" in printed.err
    assert contents(out) == before


def test_check_of_a_folder_that_is_not_there_makes_none(products: Path, tmp_path: Path) -> None:
    assert run(products, tmp_path / "slo", "--check") == 1
    assert not (tmp_path / "slo").exists()


def test_a_faulty_declaration_writes_nothing(products: Path, tmp_path: Path) -> None:
    file = products / "orders" / "orders-completed" / "data_product.yaml"
    file.write_text(declaration("orders-completed", more="foo: 1"))

    assert run(products, tmp_path / "slo") == 2
    assert not (tmp_path / "slo").exists()


def test_every_monitor_is_scraped_and_asked_for_workers(products: Path, tmp_path: Path) -> None:
    monitors = ("--monitor", "10.0.0.1:9390", "--monitor", "mesh-2.example:9390")

    assert run(products, tmp_path / "slo", *monitors) == 0

    text = (tmp_path / "slo" / "prometheus.yml").read_text()
    assert "http://10.0.0.1:9390/targets" in text
    assert "http://mesh-2.example:9390/targets" in text


@pytest.mark.parametrize(
    "wrong",
    [
        ("--monitor", "nowhere"),
        ("--monitor", "host:port"),
        ("--monitor", "a:1\n- evil"),
        ("--minute", "0.9"),
        ("--minute", "61"),
    ],
)
def test_what_makes_no_sense_is_refused(
    products: Path, tmp_path: Path, wrong: tuple[str, str]
) -> None:
    assert run(products, tmp_path / "slo", *wrong) == 2
    assert not (tmp_path / "slo").exists()
