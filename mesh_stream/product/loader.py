"""Loads product folders: reads every file, fills in every convention, reports every fault at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mesh_stream.errors import DeclarationError, Fault
from mesh_stream.product import schema as schemas
from mesh_stream.product.authored_code import AuthoredCode
from mesh_stream.product.declaration import InputDeclaration, ProductDeclaration, ProductDocument
from mesh_stream.product.fields import DecimalDefault
from mesh_stream.product.product import (
    Contract,
    Format,
    Input,
    Limits,
    Mesh,
    Output,
    Product,
    Rule,
    Sla,
    Transformation,
)
from mesh_stream.product.rules import Recorder, RecordedRule, call_checks, is_check
from mesh_stream.product.transformation import load_transformation
from mesh_stream.product.validation import validated
from mesh_stream.product.yaml_source import Document, read_yaml

T = TypeVar("T")
FILE = "data_product.yaml"


def load_mesh(root: Path) -> Mesh:
    """Loads every product under `root`: each folder `<domain>/<product>` with a declaration.

    Raises:
        DeclarationError: With every fault of every file.
    """
    faults: list[Fault] = []
    products: dict[str, Product] = {}
    for file in sorted(root.glob(f"*/*/{FILE}")):
        try:
            product = load_product(file.parent)
        except DeclarationError as cause:
            faults += cause.faults
        else:
            products[product.name] = product
    if faults:
        raise DeclarationError(faults)
    return Mesh(root, products)


def load_product(folder: Path) -> Product:
    """Loads one product's folder.

    Raises:
        DeclarationError: With every fault of every file.
    """
    document = read_yaml(folder / FILE)
    declared = validated(document, ProductDocument).data_product
    domain = declared.domain or folder.resolve().parent.name
    code = AuthoredCode(folder)
    sources = []
    if declared.fields:
        sources.append(
            schemas.from_field_list(document, declared.fields, name=declared.name, domain=domain)
        )
    for path in sorted((folder / "schema").glob("*")):
        if path.suffix in (".avsc", ".yaml", ".yml"):
            sources.append(schemas.from_file(path, name=declared.name, domain=domain))
    contract = schemas.contract_of(
        sources, decimals=DecimalDefault(18, 2), compatibility="BACKWARD"
    )
    rules = []
    for path in sorted((folder / "src" / "quality").glob("*.py")):
        module = code.module(path)
        recorder = Recorder(path, path.resolve())
        call_checks(recorder, [value for value in vars(module).values() if is_check(value)])
        if recorder.faults:
            raise DeclarationError(recorder.faults)
        rules += [
            Rule(r.name or f"{r.column}_{r.short}", r.check, r.column, r.action, r.dimension)
            for r in recorder.rules
        ]
    transformation = None
    files = [p for p in sorted((folder / "src" / "transformations").glob("*.py")) if p.name[0] != "_"]
    if declared.transformation:
        path, _, function = declared.transformation.partition(":")
        transformation = load_transformation(code, folder / path, function or None)
    elif files:
        transformation = load_transformation(code, files[0], None)
    inputs = [
        Input(i.topic or "", i.format or Format.JSON, i.product, i.event_time, transformation)
        for i in declared.inputs or [InputDeclaration(topic=f"raw.{domain}")]
    ]
    settings = dict(declared.output.settings)
    if declared.output.retention:
        settings["retention.ms"] = str(int(declared.output.retention * 1000))
    major = declared.version.split(".")[0]
    return Product(
        folder=folder,
        name=declared.name,
        domain=domain,
        owner=declared.owner,
        version=declared.version,
        status=declared.status,
        description=declared.description,
        documentation=declared.documentation or "",
        sla=Sla(float(declared.sla.freshness), float(declared.sla.availability)),
        contract=contract,
        inputs=tuple(inputs),
        output=Output(
            topic=f"{domain}.{declared.name}.v{major}",
            key=declared.output.key,
            event_time=declared.output.event_time or "completed_at",
            partitions=declared.output.partitions,
            settings=settings,
        ),
        rules=tuple(rules),
        limits=Limits(),
    )
