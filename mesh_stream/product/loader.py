"""Loads product folders: reads every file, fills in conventions, reports every fault at once.

A product is read in two steps. The *draft* is what others may need of it: its declaration and its
contract, from YAML and Avro alone. Then its code is run and its rules are bound. So a product that
reads another needs only the other's draft, and no step is skipped because an unrelated one failed.

Conventions for what a declaration leaves out: the domain is the name of the folder around the
product's; the input is the raw topic `raw.<domain>`, as JSON; the transformation is the only file
in `src/transformations`, or none; every file in `src/quality` holds checks. Files whose name begins
with an underscore are left to their siblings to import.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mesh_stream.errors import DeclarationError, Fault
from mesh_stream.product import governance, schema
from mesh_stream.product.authored_code import AuthoredCode
from mesh_stream.product.declaration import (
    ID,
    InputDeclaration,
    ProductDeclaration,
    ProductDocument,
)
from mesh_stream.product.folder import (
    conventional_transformation,
    file_inside,
    file_rules,
    misnamed,
    named_file,
    quality_files,
    recorded_rules,
)
from mesh_stream.product.inline_rules import FileItem
from mesh_stream.product.ports import Draft, inputs_of, output_of
from mesh_stream.product.product import (
    Contract,
    Input,
    Limits,
    Mesh,
    Product,
    Rule,
    Sla,
    Support,
    Transformation,
)
from mesh_stream.product.recorder import RecordedRule
from mesh_stream.product.rule_binding import bind, inline_rules
from mesh_stream.product.transformation import load_transformation
from mesh_stream.product.validation import Faults, validated
from mesh_stream.product.yaml_source import Document, read_yaml

FILE = "data_product.yaml"
# Names that mean something else at the front of a topic.
RESERVED_DOMAINS = frozenset({"raw", "dlq", "mesh"})


def product_folders(root: Path) -> dict[str, Path]:
    """Returns the product folders under `root`, by product name, without reading them.

    Raises:
        DeclarationError: Two folders have one name, or a folder looks like a product and is none.
    """
    faults = Faults()
    folders: dict[str, Path] = {}
    if not root.is_dir():
        fault = Fault(root, 0, "", "no folder", "the folder of products", "--products DIR")
        raise DeclarationError([fault])
    for folder in sorted(root.glob("*/*/")):
        if any(part.startswith((".", "_")) for part in folder.relative_to(root).parts):
            continue
        if not (folder / FILE).is_file():
            faults.found += _not_a_product(folder)
        elif folder.name in folders:
            found = f"a second product {folder.name}"
            expected = f"names unique in the mesh (the first is {folders[folder.name]})"
            faults.found.append(Fault(folder / FILE, 0, "", found, expected, "rename one of them"))
        else:
            folders[folder.name] = folder
    for stray in sorted([*root.glob(FILE), *root.glob(f"*/{FILE}"), *root.glob(f"*/*/*/{FILE}")]):
        expected = f"<domain>/<product>/{FILE} under {root}"
        faults.found.append(Fault(stray, 0, "", "a product at another depth", expected))
    faults.raise_any()
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
                name = owners[port.topic]
                found = f"the topic {port.topic} of the product {name}"
                place = "data_product.inputs"
                path = product.folder / FILE
                yield Fault(path, 0, place, found, "products read as such", f"product: {name}")


def load_product(folder: Path) -> Product:
    """Loads one product's folder, and of the products it reads what it needs.

    Raises:
        DeclarationError: With every fault of its files.
    """
    root = Path(os.path.relpath(folder / ".." / ".."))
    if folder.is_absolute():
        root = folder.parent.parent
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
        faults.found += misnamed(folder)
        recorded = faults.attempt(partial(recorded_rules, code))
        draft = faults.attempt(partial(self.draft, folder))
        if draft is None:
            # What stands in code is checked all the same: one fault must not hide the next.
            faults.attempt(partial(conventional_transformation, code))
            faults.raise_any()
        assert draft is not None
        self.drafts[draft.declared.name] = draft
        return self._finish(draft, code, recorded, faults)

    def draft(self, folder: Path) -> Draft:
        faults = Faults()
        place = Path(os.path.normpath(folder.absolute()))
        sources = faults.attempt(partial(_schema_files, folder, place.name, place.parent.name))
        document = faults.attempt(partial(read_yaml, folder / FILE))
        declared = None
        if document is not None:
            declared = faults.attempt(partial(_declared, document, place))
        if declared is None:
            faults.raise_any()
        assert document is not None
        assert declared is not None
        domain = place.parent.name
        listed = None
        if declared.fields is not None:
            listed = faults.attempt(
                partial(
                    schema.from_field_list,
                    document,
                    declared.fields,
                    name=declared.name,
                    domain=domain,
                )
            )
        if declared.fields is None and sources == []:
            expected = "the facts' fields, here or as schema/*.avsc or schema/*.yaml"
            fault = document.fault(("data_product", "schema"), "nothing", expected)
            faults.found.append(fault)
        policies = self.standards.policies
        faults.found += governance.policy_faults(policies, document, declared, domain)
        stated = [source for source in (listed, *(sources or ())) if source is not None]
        faults.raise_any()
        defaults = self.standards.defaults
        contract = schema.contract_of(stated, defaults)
        output = output_of(document, declared, domain=domain, contract=contract, defaults=defaults)
        return Draft(folder, document, declared, domain, contract, output)

    def upstream(self, name: str) -> Draft | None:
        """Finds a product that another one reads; its own faults are the reader's as well."""
        if name not in self.drafts:
            found = sorted(self.root.glob(f"*/{name}/{FILE}"))
            if not found:
                return None
            self.drafts[name] = self.draft(found[0].parent)
        return self.drafts[name]

    def _finish(
        self,
        draft: Draft,
        code: AuthoredCode,
        recorded: list[RecordedRule] | None,
        faults: Faults,
    ) -> Product:
        document, declared = draft.document, draft.declared
        faults.found += self._cycle(draft)
        inputs = faults.attempt(
            partial(
                inputs_of,
                draft,
                upstream=self.upstream,
                reader=partial(_reader, draft, self.standards.defaults),
                transformation=partial(_transformation, draft, code),
            )
        )
        said = list(recorded or ())
        said += faults.attempt(partial(_listed_rules, draft, code)) or ()
        said += faults.attempt(partial(inline_rules, document, declared.quality)) or ()
        rules = faults.attempt(partial(bind, said, draft.contract))
        faults.found += governance.contract_faults(
            self.standards.policies, document, draft.contract, len(said)
        )
        faults.raise_any()
        assert inputs is not None
        assert rules is not None
        return _product(draft, inputs, rules)

    def _cycle(self, draft: Draft) -> Iterator[Fault]:
        """Yields the inputs of a product that lead back to it."""
        name = draft.declared.name
        for position, port in enumerate(draft.declared.inputs or ()):
            way = self._way(port.product, name, ()) if port.product else None
            if way is not None:
                where = ("data_product", "inputs", position, "product")
                found = f"a circle: {' reads '.join((name, *way))}"
                yield draft.document.fault(where, found, "products that do not read themselves")

    def _way(self, start: str, goal: str, passed: tuple[str, ...]) -> tuple[str, ...] | None:
        """Returns the products from `start` to `goal`, along what each reads."""
        if start == goal:
            return (goal,)
        if start in passed:
            return None
        try:
            draft = self.upstream(start)
        except DeclarationError:
            return None
        for port in draft.declared.inputs or () if draft else ():
            if port.product is not None:
                way = self._way(port.product, goal, (*passed, start))
                if way is not None:
                    return (start, *way)
        return None


def _declared(document: Document, place: Path) -> ProductDeclaration:
    """Reads the declaration, and holds its names against those of its folders."""
    declared = validated(document, ProductDocument).data_product
    folder, domain = place.name, place.parent.name
    faults: list[Fault] = []

    def fault(key: str, found: str, expected: str, remedy: str) -> None:
        faults.append(document.fault(("data_product", key), found, expected, remedy))

    if declared.name != folder:
        fault("name", repr(declared.name), f"{folder!r}, the folder's name", "rename one of them")
    if declared.domain is not None and declared.domain != domain:
        expected = f"{domain!r}, the name of the folder around the product's"
        fault("domain", repr(declared.domain), expected, "move the product, or leave it out")
    elif not ID.fullmatch(domain):
        expected = "a folder with the domain's id: lower-case letters, digits and dashes"
        fault("domain", f"the folder {domain!r}", expected, "products/<domain>/<product>")
    elif domain in RESERVED_DOMAINS:
        fault("domain", repr(domain), "a domain that is no prefix of the mesh's own topics", "")
    if faults:
        raise DeclarationError(faults)
    return declared


def _schema_files(folder: Path, name: str, domain: str) -> list[schema.Source]:
    faults = Faults()
    sources: list[schema.Source] = []
    for path in sorted((folder / "schema").glob("*")):
        if path.suffix in schema.SUFFIXES and not path.name.startswith("."):
            read = partial(_schema_file, folder, path, name, domain)
            source = faults.attempt(read)
            sources += [source] if source else []
        elif path.suffix in (".json", ".avdl", ".avpr"):
            expected = "plain Avro as .avsc, or a registry entry as .yaml"
            faults.found.append(Fault(path, 0, "", f"a {path.suffix} file", expected, "rename it"))
    faults.raise_any()
    return sources


def _schema_file(folder: Path, path: Path, name: str, domain: str) -> schema.Source:
    file_inside(folder, path)
    return schema.from_file(path, name=name, domain=domain)


def _reader(draft: Draft, defaults: governance.Defaults, position: int, text: str) -> Contract:
    where = ("data_product", "inputs", position, "schema")
    path = named_file(draft.folder, text, (".avsc",), partial(draft.document.fault, where))
    return schema.reader_contract(path, defaults)


def _transformation(
    draft: Draft, code: AuthoredCode, position: int, said: InputDeclaration
) -> Transformation | None:
    """Loads what is applied to an input: its own, else the product's, else the conventional."""
    where: tuple[str | int, ...] = ("data_product", "transformation")
    text = draft.declared.transformation
    if said.transformation is not None:
        where, text = ("data_product", "inputs", position, "transformation"), said.transformation
    if text is None:
        return conventional_transformation(code)
    file, _, function = text.partition(":")
    fault = partial(draft.document.fault, where)
    path = named_file(draft.folder, file, (".py", ".sql"), fault)
    return load_transformation(code, path, function or None)


def _listed_rules(draft: Draft, code: AuthoredCode) -> list[RecordedRule]:
    """Reads the files of checks that the declaration lists beyond those in `src/quality`."""
    faults = Faults()
    rules: list[RecordedRule] = []
    conventional = set(quality_files(code.folder))
    for position, item in enumerate(draft.declared.quality):
        if not isinstance(item, FileItem):
            continue
        fault = partial(draft.document.fault, ("data_product", "quality", position))
        path = faults.attempt(partial(named_file, draft.folder, item.file, (".py",), fault))
        if path is not None and path not in conventional:
            conventional.add(path)
            rules += faults.attempt(partial(file_rules, code, path)) or ()
    faults.raise_any()
    return rules


def _product(draft: Draft, inputs: tuple[Input, ...], rules: tuple[Rule, ...]) -> Product:
    declared = draft.declared
    limits = declared.limits.model_dump(exclude_none=True)
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
        limits=Limits(**limits),
        tags=declared.tags,
        support=tuple(Support(said.channel, said.url or "") for said in declared.support),
    )
