"""Reads of a product what others may need of it: its declaration and contract, but no code.

Whatever can be read is read: a draft with faults still holds its sound parts, so that the rest of
the product is checked against them and every fault is said at once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mesh_stream.errors import DeclarationError, Fault
from mesh_stream.product import schema
from mesh_stream.product.declaration import ProductDeclaration, ProductDocument
from mesh_stream.product.declared_values import ID
from mesh_stream.product.folder import file_inside
from mesh_stream.product.governance import Governance, policy_faults
from mesh_stream.product.output import output_of
from mesh_stream.product.product import Contract, Output
from mesh_stream.product.validation import Faults, Salvaged, salvaged
from mesh_stream.product.yaml_source import Document, read_yaml

FILE = "data_product.yaml"
# Names that mean something else at the front of a topic.
RESERVED_DOMAINS = frozenset({"raw", "dlq", "mesh"})


@dataclass(frozen=True, slots=True)
class Draft:
    """A product whose declaration and schema were read.

    Attributes:
        folder: Its folder, as the user named it.
        domain: Its domain: the name of the folder around it.
        document: Its `data_product.yaml`; None where it cannot be read.
        declared: What that says, with stand-ins for what is faulty; None where too little is sound.
        contract: Its contract; None where that is faulty.
        output: Its output port; None where that is faulty.
        faults: Everything wrong so far.
        reading: How much of the document was sound.
    """

    folder: Path
    domain: str
    document: Document | None
    declared: ProductDeclaration | None
    contract: Contract | None
    output: Output | None
    faults: tuple[Fault, ...]
    reading: Salvaged[ProductDocument]


def place_of(folder: Path) -> Path:
    """Returns a folder's absolute place, links not followed: its names are the author's."""
    return Path(os.path.normpath(folder.absolute()))


def draft_of(folder: Path, standards: Governance) -> Draft:
    """Reads a product's declaration and schema files."""
    place = place_of(folder)
    domain = place.parent.name
    faults = Faults()
    sources = _schema_files(folder, place.name, domain, faults)
    no_file = not sources and not faults.found
    document = faults.attempt(partial(read_yaml, folder / FILE))
    reading: Salvaged[ProductDocument] = Salvaged(None)
    declared: ProductDeclaration | None = None
    listed = None
    if document is not None:
        reading = salvaged(document, ProductDocument)
        faults.found += reading.faults
        declared = reading.model.data_product if reading.model else None
    if document is not None and declared is not None:
        later = Faults()
        later.attempt(partial(_check_names, document, declared, place))
        later.found += policy_faults(standards.policies, document, declared, domain)
        if declared.fields is not None:
            listed = later.attempt(
                partial(schema.from_field_list, document, declared.fields, place.name, domain)
            )
        elif no_file:
            expected = "the facts' fields, here or as schema/*.avsc or schema/*.yaml"
            later.found.append(document.fault(("data_product", "schema"), "nothing", expected))
        faults.found += [fault for fault in later.found if not reading.concerns(fault)]
    stated = [source for source in (listed, *sources) if source is not None]
    contract = output = None
    if stated:
        faults.attempt(partial(schema.check_agreement, stated, standards.defaults))
        contract = faults.attempt(partial(schema.contract_of, stated, standards.defaults))
    if document is not None and declared is not None and contract is not None:
        later = Faults()
        output = later.attempt(
            partial(
                output_of,
                document,
                declared,
                domain=domain,
                contract=contract,
                defaults=standards.defaults,
            )
        )
        faults.found += [fault for fault in later.found if not reading.concerns(fault)]
    return Draft(
        folder=folder,
        domain=domain,
        document=document,
        declared=declared,
        contract=contract,
        output=output,
        faults=tuple(faults.found),
        reading=reading,
    )


def _check_names(document: Document, declared: ProductDeclaration, place: Path) -> None:
    """Holds the declared names against those of the folders."""
    folder, domain = place.name, place.parent.name
    faults: list[Fault] = []

    def fault(key: str, found: str, expected: str, remedy: str = "") -> None:
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
        fault("domain", repr(domain), "a domain whose topics no other topics are called like")
    if faults:
        raise DeclarationError(faults)


def _schema_files(folder: Path, name: str, domain: str, faults: Faults) -> list[schema.Source]:
    sources: list[schema.Source] = []
    for path in sorted((folder / "schema").glob("*")):
        if path.suffix in schema.SUFFIXES and not path.name.startswith("."):
            source = faults.attempt(partial(_schema_file, folder, path, name, domain))
            sources += [source] if source else []
        elif path.suffix in (".json", ".avdl", ".avpr"):
            expected = "plain Avro as .avsc, or a registry entry as .yaml"
            faults.found.append(Fault(path, 0, "", f"a {path.suffix} file", expected, "rename it"))
    return sources


def _schema_file(folder: Path, path: Path, name: str, domain: str) -> schema.Source:
    file_inside(folder, path)
    return schema.from_file(path, name=name, domain=domain)
