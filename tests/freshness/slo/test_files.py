from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping

import yaml

from mesh_stream.freshness.slo.files import files_of
from mesh_stream.freshness.slo.writing import differences
from mesh_stream.product.product import Product
from tests.freshness.slo.conftest import ROOT


def test_the_same_mesh_gives_the_same_bytes_in_any_order(products: Mapping[str, Product]) -> None:
    one = files_of(products.values())
    other = files_of(reversed(list(products.values())))

    assert list(one.items()) == list(other.items())


def test_it_does_so_in_another_process(products: Mapping[str, Product]) -> None:
    script = (
        "import hashlib, pathlib\n"
        "from mesh_stream.freshness.slo.files import files_of\n"
        "from mesh_stream.product.loader import load_mesh\n"
        "files = files_of(load_mesh(pathlib.Path('products')).products.values())\n"
        "print(hashlib.sha256(''.join(files.values()).encode()).hexdigest())"
    )

    # What is hashed is in another order there.
    theirs = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"PYTHONHASHSEED": "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.strip()

    ours = "".join(files_of(products.values()).values())
    assert theirs == hashlib.sha256(ours.encode()).hexdigest()


def test_what_is_in_git_is_current(products: Mapping[str, Product]) -> None:
    found = differences(ROOT / "deploy" / "slo", files_of(products.values()))

    assert found == (), "run `make slo`"


def test_every_yaml_says_whence_it_comes_and_is_read_safely(
    products: Mapping[str, Product],
) -> None:
    for path, text in files_of(products.values()).items():
        if path.endswith((".yml", ".yaml")):
            assert text.startswith("# Written by `mesh-stream slo`")
            assert list(yaml.safe_load_all(text))


def test_a_rehearsal_says_that_it_is_one(product: Product) -> None:
    rehearsed = files_of([product], minute=7.5)

    assert "lasts 7.5 s" in rehearsed["rules/orders.orders-completed.yml"]
    assert "lasts" not in files_of([product])["rules/orders.orders-completed.yml"]


def test_a_product_called_like_the_mesh_has_files_of_its_own(product: Product) -> None:
    namesake = dataclasses.replace(product, name="mesh")

    files = files_of([namesake])

    assert {"rules/mesh.yml", "rules/orders.mesh.yml"} <= files.keys()
    assert files["dashboards/mesh.json"] != files["dashboards/orders.mesh.json"]
    uids = [
        line for path in files if "dashboards/" in path and path.endswith(".json")
        for line in files[path].splitlines() if '"uid": "mesh-' in line
    ]  # fmt: skip
    assert len(set(uids)) == 2
