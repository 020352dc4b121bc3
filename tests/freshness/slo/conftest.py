"""What the tests of rules and dashboards share: this repository's own products."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from mesh_stream.freshness.slo.files import files_of
from mesh_stream.product.loader import load_mesh
from mesh_stream.product.product import Product, Sla

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def products() -> Mapping[str, Product]:
    """The products of this repository."""
    return load_mesh(ROOT / "products").products


@pytest.fixture(scope="session")
def product(products: Mapping[str, Product]) -> Product:
    """One of them; it promises 99.9%."""
    return products["orders-completed"]


def promising(product: Product, availability: float) -> Product:
    """The product, with another availability."""
    return dataclasses.replace(product, sla=Sla(product.sla.freshness_seconds, availability))


def put(folder: Path, files: Mapping[str, str]) -> Path:
    """Puts files into a folder as they are."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def generated(products: Mapping[str, Product], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that is generated for this repository's products."""
    return put(tmp_path_factory.mktemp("slo"), files_of(products.values()))
