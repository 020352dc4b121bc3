"""`mesh-stream test` and `mesh-stream init`: what domain teams do before any broker is there."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mesh_stream.cli.options import products_option

if TYPE_CHECKING:
    from mesh_stream.examples import Examined, Verdict
    from mesh_stream.product.product import Product

_NOTHING_COLLECTED = 5
"""pytest's exit code where no file held a test."""


@dataclass(frozen=True, slots=True)
class _Tested:
    """How one product went.

    Attributes:
        product: The product.
        examined: Its examples.
        pytest: `passed`, `failed`, `none` or `not installed`.
        output: What pytest printed.
    """

    product: Product
    examined: Examined
    pytest: str
    output: str

    @property
    def failed(self) -> list[Verdict]:
        return [verdict for verdict in self.examined.verdicts if verdict.differences]

    def outcome(self, *, strict: bool) -> str:
        """`passed`, `failed`, or `untested`: nothing was tried, which is not all well."""
        if self.failed or self.pytest in ("failed", "not installed"):
            return "failed"
        if not self.examined.verdicts and self.pytest == "none":
            return "untested"
        return "failed" if strict and self.examined.unproven else "passed"


@click.command()
@click.argument("products_named", metavar="[PRODUCT...]", nargs=-1)
@click.option("--domain", metavar="DOMAIN", help="Only the products of this domain.")
@click.option(
    "--strict",
    is_flag=True,
    help="Fail, too, where a rule that stops records has no example that it alone stops.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, nothing else.")
@products_option
def test(
    products_named: tuple[str, ...],
    domain: str | None,
    strict: bool,
    as_json: bool,
    products: str | None,
) -> int:
    """Run products' examples and tests, without a broker; all products where none is named.

    Examples are the files tests/*.yaml of a product, tests its files tests/test_*.py. Records go
    through the very path that the worker runs. Exits 1 where something does not hold, or where a
    product has neither examples nor tests.
    """
    from mesh_stream.cli.chosen import load_chosen
    from mesh_stream.settings import products_folder

    chosen = load_chosen(products_folder(os.environ, products), products_named, domain)
    tested = [_test(product) for product in chosen]
    outcomes = [one.outcome(strict=strict) for one in tested]
    if as_json:
        document = [_described(one, outcome) for one, outcome in zip(tested, outcomes, strict=True)]
        click.echo(
            json.dumps({"passed": set(outcomes) == {"passed"}, "products": document}, indent=2)
        )
    else:
        for one, outcome in zip(tested, outcomes, strict=True):
            _print(one, outcome)
    return 0 if set(outcomes) == {"passed"} else 1


def _test(product: Product) -> _Tested:
    from mesh_stream.examples import examine

    return _Tested(product, examine(product), *_run_pytest(product))


def _run_pytest(product: Product) -> tuple[str, str]:
    """In a process of its own for each product: two may have test files of one name."""
    files = sorted((product.folder / "tests").rglob("test_*.py"))
    if not files:
        return "none", ""
    if importlib.util.find_spec("pytest") is None:
        return "not installed", ""
    arguments = ["-q", "--import-mode=importlib", "-p", "no:cacheprovider", *map(str, files)]
    done = subprocess.run(
        [sys.executable, "-B", "-m", "pytest", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode == _NOTHING_COLLECTED:
        return "none", done.stdout
    return "passed" if done.returncode == 0 else "failed", done.stdout


def _print(tested: _Tested, outcome: str) -> None:
    verdicts = tested.examined.verdicts
    held = len(verdicts) - len(tested.failed)
    examples = f"{held} of {len(verdicts)} examples hold" if verdicts else "0 examples"
    tests = {"none": "no tests", "not installed": "tests not run"}.get(
        tested.pytest, f"tests {tested.pytest}"
    )
    click.echo(f"{tested.product.name}: {outcome}: {examples}, {tests}")
    for verdict in tested.failed:
        click.echo(f"  {verdict.path}:{verdict.line}: {verdict.name}")
        for difference in verdict.differences:
            click.echo(f"    {difference}")
    for rule in tested.examined.unproven:
        click.echo(
            f"  rule {rule.name}: no example is stopped by it alone, so that nothing would notice "
            f"if it were gone"
        )
    match tested.pytest:
        case "failed":
            click.echo(tested.output.rstrip())
        case "not installed":
            click.echo("  its tests need pytest, which is not installed: pip install pytest")
    if outcome == "untested":
        click.echo(f"  nothing was tested: write {tested.product.folder / 'tests/examples.yaml'}")


def _described(tested: _Tested, outcome: str) -> dict[str, Any]:
    return {
        "name": tested.product.name,
        "outcome": outcome,
        "examples": [
            {
                "name": verdict.name,
                "path": str(verdict.path),
                "line": verdict.line,
                "differences": list(verdict.differences),
            }
            for verdict in tested.examined.verdicts
        ],
        "unproven_rules": [rule.name for rule in tested.examined.unproven],
        "pytest": tested.pytest,
        "output": tested.output if tested.pytest == "failed" else "",
    }


@click.command()
@click.argument("product", metavar="DOMAIN/PRODUCT")
@click.option(
    "--owner",
    metavar="TEAM",
    help="The team that answers for it.  [default: <domain>-team]",
)
@products_option
def init(product: str, owner: str | None, products: str | None) -> None:
    """Generate a product that validates, tests and runs.

    It reads raw.DOMAIN and publishes DOMAIN.PRODUCT.v1; change it step by step, and run
    `mesh-stream validate` and `mesh-stream test` as you go. Nothing is overwritten.
    """
    from mesh_stream.cli.scaffold import files_of
    from mesh_stream.settings import products_folder

    domain, name = _ids(product)
    root = products_folder(os.environ, products)
    folder = root / domain / name
    _check_free(root, folder, name)
    files = files_of(domain, name, owner=owner or f"{domain}-team")
    with tempfile.TemporaryDirectory() as temporary:
        # Made and loaded elsewhere first: where governance refuses it, nothing is left behind.
        draft = Path(temporary) / domain / name
        _write(files, draft)
        _check_sound(draft, folder, governance=root / "governance.yaml")
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(draft, folder)
    for path in files:
        click.echo(folder / path)
    option = f" --products {products}" if products else ""
    click.echo(
        f"\nnext: mesh-stream test {name}{option}, then edit {folder / 'data_product.yaml'}",
        err=True,
    )


def _ids(product: str) -> tuple[str, str]:
    from mesh_stream.product.declared_values import ID

    domain, slash, name = product.partition("/")
    if not slash or not ID.fullmatch(domain) or not ID.fullmatch(name):
        raise click.BadParameter(
            f"found {product!r}; expected DOMAIN/PRODUCT, such as orders/orders-refunded: each a "
            f"lower-case id of 2 to 49 letters, digits and dashes, a letter first"
        )
    return domain, name


def _check_free(root: Path, folder: Path, name: str) -> None:
    if os.path.lexists(folder):
        raise click.BadParameter(f"{folder} is there already; nothing was changed")
    others = sorted(root.glob(f"*/{name}/data_product.yaml"))
    if others:
        raise click.BadParameter(
            f"{others[0].parent} is called {name} already; names are unique in the mesh"
        )


def _write(files: Any, folder: Path) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def _check_sound(draft: Path, folder: Path, *, governance: Path) -> None:
    """Load the draft under the mesh's own standards.

    Raises:
        DeclarationError: These refuse it; its faults name the files as they would be.
    """
    from mesh_stream.errors import DeclarationError
    from mesh_stream.product.loader import load_product

    if governance.is_file():
        shutil.copy(governance, draft.parent.parent)
    try:
        load_product(draft)
    except DeclarationError as error:
        root = draft.parent.parent
        raise DeclarationError(
            dataclasses.replace(fault, path=folder.parent.parent / fault.path.relative_to(root))
            for fault in error.faults
        ) from error
