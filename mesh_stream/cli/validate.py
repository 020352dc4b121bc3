"""`mesh-stream validate`: every fault of every declaration, at once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mesh_stream.cli.options import products_option

if TYPE_CHECKING:
    from mesh_stream.errors import Fault
    from mesh_stream.product.product import Hopping, Product, Session, State


@click.command()
@click.argument("paths", metavar="[PATH...]", nargs=-1, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, nothing else.")
@click.option(
    "--json-schema",
    is_flag=True,
    help="Print the JSON Schema of data_product.yaml, for editors, and validate nothing.",
)
@products_option
def validate(
    paths: tuple[Path, ...], as_json: bool, json_schema: bool, products: str | None
) -> int:
    """Find every fault of every declaration and policy, at once; exits 2 where there is one.

    PATH is a product's folder or its data_product.yaml, a domain's folder, or a folder of domains;
    without any, all products. No broker is asked: `mesh-stream plan` compares with what runs.
    """
    from mesh_stream.errors import DeclarationError

    if json_schema:
        from mesh_stream.product.declaration import json_schema as schema_of_declarations

        click.echo(json.dumps(schema_of_declarations(), indent=2))
        return 0
    sound, faults = _load(paths or (_products_folder(products),))
    if not sound and not faults:
        # Nothing found is not all well: the folder may be misspelt in somebody's pipeline.
        raise click.UsageError("no product found; expected <domain>/<product>/data_product.yaml")
    if as_json:
        document = {
            "faults": [_fault(fault) for fault in faults],
            "products": [_summary(product) for product in sound],
        }
        click.echo(json.dumps(document, indent=2))
        return DeclarationError.exit_code if faults else 0
    if faults:
        raise DeclarationError(faults)
    for product in sound:
        fields, rules = len(product.contract.fields), len(product.rules)
        click.echo(f"{product.name}: {product.output.topic}, {fields} fields, {rules} rules")
        if product.state is not None:
            click.echo(f"  state: {_state(product, product.state)}")
        for note in product.contract.notes:
            click.echo(f"  note: {note}")
    click.echo(f"{len(sound)} product{' is' if len(sound) == 1 else 's are'} sound")
    return 0


def _products_folder(products: str | None) -> Path:
    from mesh_stream.settings import products_folder

    return products_folder(os.environ, products)


def _load(paths: tuple[Path, ...]) -> tuple[list[Product], list[Fault]]:
    """Loads what the paths name, each product once."""
    from mesh_stream.errors import DeclarationError
    from mesh_stream.product.draft import FILE
    from mesh_stream.product.loader import load_mesh, load_product

    products: dict[Path, Product] = {}
    faults: set[Fault] = set()
    for path in paths:
        folder = path.parent if path.name == FILE else path
        if not folder.is_dir():
            raise click.UsageError(f"there is no folder {folder}")
        inside = sorted(file.parent for file in folder.glob(f"*/{FILE}"))
        try:
            if (folder / FILE).exists() or path.name == FILE:
                products[folder] = load_product(folder)
                continue
            if not inside:
                found = load_mesh(folder).products.values()
                products |= {product.folder: product for product in found}
                continue
        except DeclarationError as error:
            faults |= set(error.faults)
        for product_folder in inside:
            try:
                products[product_folder] = load_product(product_folder)
            except DeclarationError as error:
                faults |= set(error.faults)
    return [products[place] for place in sorted(products)], sorted(faults)


def _fault(fault: Fault) -> dict[str, Any]:
    return {
        "path": str(fault.path),
        "line": fault.line,
        "field": fault.field,
        "found": fault.found,
        "expected": fault.expected,
        "remedy": fault.remedy,
        "text": str(fault),
    }


def _summary(product: Product) -> dict[str, Any]:
    return {
        "name": product.name,
        "domain": product.domain,
        "version": product.version,
        "status": product.status,
        "topic": product.output.topic,
        "inputs": [port.topic for port in product.inputs],
        "fields": list(product.contract.fields),
        "rules": [rule.name for rule in product.rules],
        "notes": list(product.contract.notes),
        "state": _state_summary(product, product.state) if product.state is not None else None,
    }


def _state(product: Product, state: State) -> str:
    key = f"one for each {state.key}" if state.key else "one for the whole product"
    window = f", in {_window(state.window)}" if state.window is not None else ""
    way = f"events go through {product.repartition_topic}"
    return f"{key}{window}; {way if state.repartitions else 'events come keyed by it'}"


def _window(window: Hopping | Session) -> str:
    from mesh_stream.product.product import Session
    from mesh_stream.product.sla import duration_text

    if isinstance(window, Session):
        return f"sessions that end after {duration_text(window.gap)}"
    every = "" if window.advance == window.size else f", one every {duration_text(window.advance)}"
    return f"windows of {duration_text(window.size)}{every}"


def _state_summary(product: Product, state: State) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "key": state.key,
        "window": None if state.window is None else asdict(state.window),
        "emit": state.emit.value,
        "changelog": product.changelog_topic,
        "repartition": product.repartition_topic if state.repartitions else None,
    }
