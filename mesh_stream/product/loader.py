"""Loads product folders: reads every file, fills in conventions, reports every fault at once.

A product is read in two steps. The draft is what others may need of it, from YAML and Avro alone.
Then its code is run and its rules are bound. So a product that reads another needs only the
other's draft, and no step is skipped because an unrelated one failed.

Conventions for what a declaration leaves out: the domain is the name of the folder around the
product's; the input is the raw topic `raw.<domain>`, as JSON; the transformation is the only file
in `src/transformations`, or none; where a state is declared, its functions in there are called
fold, fact and merge; every file in `src/quality` holds checks. Files whose name begins with an
underscore are left to their siblings to import.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mesh_stream.errors import DeclarationError, Fault
from mesh_stream.product import governance
from mesh_stream.product.authored_code import AuthoredCode
from mesh_stream.product.declaration import InputDeclaration, ProductDeclaration
from mesh_stream.product.draft import FILE, Draft, draft_of
from mesh_stream.product.folder import (
    conventional_transformation,
    file_rules,
    misnamed,
    named_file,
    quality_files,
    recorded_rules,
)
from mesh_stream.product.folding import as_it_comes, is_apart, load_folding
from mesh_stream.product.inline_rules import FileItem
from mesh_stream.product.inputs import InputSources, inputs_of
from mesh_stream.product.product import (
    Contract,
    Input,
    Limits,
    Mesh,
    Product,
    Rule,
    Sla,
    State,
    Support,
    Transformation,
)
from mesh_stream.product.recorder import RecordedRule
from mesh_stream.product.rule_binding import bind, inline_rules
from mesh_stream.product.schema import reader_contract
from mesh_stream.product.sla import UnreadableError
from mesh_stream.product.state import state_of
from mesh_stream.product.transformation import Apart, load_transformation, none_apart
from mesh_stream.product.validation import Faults, did_you_mean
from mesh_stream.product.yaml_source import Document


def product_folders(root: Path) -> dict[str, Path]:
    """Returns the product folders under `root`, by product name, without reading them.

    Raises:
        DeclarationError: Two folders have one name, or a folder looks like a product and is none.
    """
    if not root.is_dir():
        fault = Fault(root, 0, "", "no folder", "the folder of products", "--products DIR")
        raise DeclarationError([fault])
    faults: list[Fault] = []
    folders: dict[str, Path] = {}
    for folder in sorted(root.glob("*/*/")):
        if any(part.startswith((".", "_")) for part in folder.relative_to(root).parts):
            continue
        if not (folder / FILE).is_file():
            faults += _not_a_product(folder)
        elif folder.name in folders:
            found = f"a second product {folder.name}"
            expected = f"names unique in the mesh (the first is {folders[folder.name]})"
            faults.append(Fault(folder / FILE, 0, "", found, expected, "rename one of them"))
        else:
            folders[folder.name] = folder
    for stray in sorted([*root.glob(FILE), *root.glob(f"*/{FILE}"), *root.glob(f"*/*/*/{FILE}")]):
        expected = f"<domain>/<product>/{FILE} under {root}"
        faults.append(Fault(stray, 0, "", "a product at another depth", expected))
    if faults:
        raise DeclarationError(faults)
    return folders


def _not_a_product(folder: Path) -> Iterator[Fault]:
    """A folder that holds what only products hold, but no declaration, is not passed over."""
    likely = ("src", "schema", "data_product.yml", "data_product.json")
    held = [name for name in likely if (folder / name).exists()]
    if held:
        found = f"{' and '.join(held)} without {FILE}"
        yield Fault(folder, 0, "", found, f"{FILE} in the folder of a product")


def load_mesh(root: Path) -> Mesh:
    """Loads every product under `root`: each folder `<domain>/<product>` with a declaration.

    Raises:
        DeclarationError: With every fault of every file.
    """
    faults = Faults()
    standards = faults.attempt(partial(governance.load_governance, root)) or governance.Governance()
    folders = faults.attempt(partial(product_folders, root)) or {}
    load = _Load(root, standards)
    products = {
        name: product
        for name, folder in folders.items()
        if (product := faults.attempt(partial(load.product, folder))) is not None
    }
    faults.found += _disguised(products)
    faults.raise_any()
    return Mesh(root, products)


def _disguised(products: dict[str, Product]) -> Iterator[Fault]:
    """A product's topic that is read as if it were raw: its contract would not be looked at."""
    owners = {product.output.topic: name for name, product in products.items()}
    for product in products.values():
        for port in product.inputs:
            if port.product is None and port.topic in owners:
                found = f"the topic {port.topic} of the product {owners[port.topic]}"
                remedy = f"write product: {owners[port.topic]}"
                place, path = "data_product.inputs", product.folder / FILE
                yield Fault(path, 0, place, found, "products read as products", remedy)


def load_product(folder: Path) -> Product:
    """Loads one product's folder, and of the products it reads what it needs.

    Raises:
        DeclarationError: With every fault of its files.
    """
    # Named from where the user stands, so that messages name files as the user would.
    root = folder.parent.parent if folder.is_absolute() else Path(os.path.relpath(folder / "../.."))
    faults = Faults()
    standards = faults.attempt(partial(governance.load_governance, root)) or governance.Governance()
    product = faults.attempt(partial(_Load(root, standards).product, folder))
    faults.raise_any()
    assert product is not None
    return product


@dataclass(slots=True)
class _Load:
    """One load of a mesh, or of a part of it; each draft is made once."""

    root: Path
    standards: governance.Governance
    drafts: dict[str, Draft] = field(default_factory=dict)

    def product(self, folder: Path) -> Product:
        faults = Faults()
        code = AuthoredCode(folder)
        draft = self.draft(folder)
        faults.found += draft.faults
        faults.found += misnamed(folder)
        said = recorded_rules(code, faults)
        if draft.document is None or draft.declared is None:
            # What stands in code is checked all the same: one fault must not hide the next.
            faults.attempt(partial(conventional_transformation, code, partial(is_apart, None)))
            faults.raise_any()
        assert draft.document is not None
        assert draft.declared is not None
        later = Faults()
        later.found += self._circles(draft.document, draft.declared)
        remembered = draft.declared.state
        folding = None
        if remembered is not None:
            folding = later.attempt(partial(load_folding, draft.document, remembered, code))
        # Faulty, it is a state all the same: its functions are no transformations.
        has_state = remembered is not None or ("data_product", "state") in draft.reading.broken
        apart = partial(is_apart, folding) if has_state else none_apart
        applied = partial(_transformation, draft.document, draft.declared, code, apart)
        sources = InputSources(
            upstream=partial(self.upstream, draft.declared.name),
            reader=partial(_reader, draft.document, folder, self.standards.defaults),
            transformation=applied,
            otherwise=as_it_comes(folding) if has_state else None,
        )
        inputs = later.attempt(partial(inputs_of, draft, sources))
        state = None
        if remembered is not None and folding is not None:
            state = later.attempt(partial(state_of, draft, remembered, folding, inputs or ()))
        said += _listed_rules(draft.document, draft.declared, code, later)
        said += later.attempt(partial(inline_rules, draft.document, draft.declared.quality)) or ()
        rules = later.attempt(partial(bind, said, draft.contract))
        if draft.contract is not None:
            later.found += governance.contract_faults(
                self.standards.policies, draft.document, draft.contract, len(said)
            )
        faults.found += [fault for fault in later.found if not draft.reading.concerns(fault)]
        faults.raise_any()
        return _product(draft, draft.declared, inputs or (), rules or (), state)

    def draft(self, folder: Path) -> Draft:
        if folder.name not in self.drafts:
            self.drafts[folder.name] = draft_of(folder, self.standards)
        return self.drafts[folder.name]

    def upstream(self, reader: str, name: str) -> Draft:
        """Finds the product that another one reads.

        Raises:
            UnreadableError: There is none.
            DeclarationError: It is faulty: its faults are the reader's as well.
        """
        found = sorted(self.root.glob(f"*/{name}/{FILE}"))
        if not found:
            others = sorted({path.parent.name for path in self.root.glob(f"*/*/{FILE}")} - {reader})
            expected = f"a product of this mesh ({', '.join(others) or 'there is no other'})"
            raise UnreadableError(expected, did_you_mean(name, others))
        draft = self.draft(found[0].parent)
        if draft.faults:
            raise DeclarationError(draft.faults)
        return draft

    def _circles(self, document: Document, declared: ProductDeclaration) -> Iterator[Fault]:
        """Yields the inputs of a product that lead back to it."""
        for position, port in enumerate(declared.inputs or ()):
            way = self._way(port.product, declared.name, ()) if port.product else None
            if way is not None:
                where = ("data_product", "inputs", position, "product")
                found = f"a circle: {' reads '.join((declared.name, *way))}"
                yield document.fault(where, found, "products that do not read themselves")

    def _way(self, start: str, goal: str, passed: tuple[str, ...]) -> tuple[str, ...] | None:
        """Returns the products from `start` to `goal`, along what each reads."""
        if start == goal:
            return (goal,)
        if start in passed:
            return None
        try:
            declared = self.upstream(goal, start).declared
        except (DeclarationError, UnreadableError):
            return None
        for port in declared.inputs or () if declared else ():
            way = self._way(port.product, goal, (*passed, start)) if port.product else None
            if way is not None:
                return (start, *way)
        return None


def _reader(
    document: Document, folder: Path, defaults: governance.Defaults, position: int, text: str
) -> Contract:
    where = ("data_product", "inputs", position, "schema")
    path = named_file(folder, text, (".avsc",), partial(document.fault, where))
    return reader_contract(path, defaults)


def _transformation(
    document: Document,
    declared: ProductDeclaration,
    code: AuthoredCode,
    apart: Apart,
    position: int,
    said: InputDeclaration,
) -> Transformation | None:
    """Loads what is applied to an input: its own, else the product's, else the conventional."""
    where: tuple[str | int, ...] = ("data_product", "transformation")
    text = declared.transformation
    if said.transformation is not None:
        where, text = ("data_product", "inputs", position, "transformation"), said.transformation
    if text is None:
        return conventional_transformation(code, apart)
    file, _, function = text.partition(":")
    path = named_file(code.folder, file, (".py", ".sql"), partial(document.fault, where))
    return load_transformation(code, path, function or None, apart)


def _listed_rules(
    document: Document, declared: ProductDeclaration, code: AuthoredCode, faults: Faults
) -> list[RecordedRule]:
    """Reads the files of checks that the declaration lists beyond those in `src/quality`."""
    rules: list[RecordedRule] = []
    read = set(quality_files(code.folder))
    for position, item in enumerate(declared.quality):
        if not isinstance(item, FileItem):
            continue
        fault = partial(document.fault, ("data_product", "quality", position))
        path = faults.attempt(partial(named_file, code.folder, item.file, (".py",), fault))
        if path is not None and path not in read:
            read.add(path)
            rules += file_rules(code, path, faults)
    return rules


def _product(
    draft: Draft,
    declared: ProductDeclaration,
    inputs: tuple[Input, ...],
    rules: tuple[Rule, ...],
    state: State | None,
) -> Product:
    assert draft.contract is not None
    assert draft.output is not None
    return Product(
        folder=draft.folder,
        name=declared.name,
        domain=draft.domain,
        owner=declared.owner,
        version=declared.version,
        status=declared.status,
        description=declared.description,
        documentation=declared.documentation or "",
        sla=Sla(float(declared.sla.freshness), float(declared.sla.availability)),
        contract=draft.contract,
        inputs=inputs,
        output=draft.output,
        rules=rules,
        limits=Limits(**declared.limits.model_dump(exclude_none=True)),
        tags=declared.tags,
        support=tuple(Support(said.channel, said.url or "") for said in declared.support),
        state=state,
    )
