"""The registry's part of a plan: contracts that are not registered, and whom a new one breaks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import fastavro
from fastavro.schema import SchemaParseException, UnknownType

from mesh_stream.errors import SchemaRefusedError
from mesh_stream.kafka.preflight import schema_problems
from mesh_stream.kafka.registry import Registered, SchemaRegistry
from mesh_stream.mesh.actions import Action, Problem, RegisterSchema, SetCompatibility
from mesh_stream.product.compatibility import breaks
from mesh_stream.product.product import Contract, Mesh, Product


def plan_contract(
    product: Product,
    mesh: Mesh,
    registry: SchemaRegistry,
    actions: list[Action],
    problems: list[Problem],
) -> None:
    """Plans what has to be registered for a product, adding to `actions` and `problems`.

    Raises:
        PlatformError: The registry did not answer, or refused the credentials.
    """
    subject, contract = product.subject, product.contract
    level = registry.compatibility(subject)
    if level != contract.compatibility:
        actions.append(SetCompatibility(product.name, subject, level, contract.compatibility))
    try:
        registered = registry.lookup(subject, contract.canonical)
        if registered is not None:
            found = schema_problems(product, registered, registry)
            problems += [Problem(product.name, sentence) for sentence in found]
            return
        latest = registry.latest(subject)
        readers = readers_of(product, mesh)
        if latest is None:
            actions.append(RegisterSchema(product.name, subject, contract.canonical, None))
            return
        reasons = list(_reasons(contract, registry, subject, latest))
        if level == contract.compatibility:
            # By another level than the declared one, the registry's verdict would mean nothing.
            said = registry.incompatibilities(subject, contract.canonical)
            reasons += [f"the registry says: {reason}" for reason in said]
    except SchemaRefusedError as cause:
        problems.append(Problem(product.name, str(cause)))
        return
    if reasons:
        problems.append(Problem(product.name, _refusal(product, latest, reasons, readers)))
        return
    before, after = _field_names(_record_schema(latest)), _field_names(contract.schema)
    actions.append(
        RegisterSchema(
            product.name,
            subject,
            contract.canonical,
            latest.version,
            added=tuple(name for name in after if name not in before),
            removed=tuple(name for name in before if name not in after),
            readers=readers,
        )
    )


def readers_of(product: Product, mesh: Mesh) -> tuple[str, ...]:
    """Returns the products of the mesh that read a product's facts."""
    return tuple(
        sorted(
            other.name
            for other in mesh.products.values()
            if any(port.topic == product.output.topic for port in other.inputs)
        )
    )


def _reasons(
    contract: Contract, registry: SchemaRegistry, subject: str, latest: Registered
) -> Iterator[str]:
    """Yields why the contract may not follow what is registered, by its declared level."""
    if contract.compatibility == "NONE":
        return
    transitive = contract.compatibility.endswith("_TRANSITIVE")
    earlier = registry.history(subject) if transitive else [latest]
    for version in reversed(earlier):
        old = _record_schema(version)
        if old is None:
            yield f"version {version.version} is no Avro record"
            continue
        for broken in breaks(contract.schema, [old], contract.compatibility):
            yield f"{broken} (version {version.version})"


def _refusal(
    product: Product, latest: Registered, reasons: list[str], readers: tuple[str, ...]
) -> str:
    listed = "".join(f"\n    - {reason}" for reason in reasons)
    read_by = f", which {', '.join(readers)} read" if readers else ""
    major = int(product.version.split(".")[0]) + 1
    return (
        f"the schema of {product.name} is not {product.contract.compatibility} compatible with "
        f"version {latest.version} of subject {product.subject}{read_by}:{listed}\n"
        f"    mend these, or declare version {major}.0.0, which is published to a topic of its own"
    )


def _record_schema(version: Registered) -> Mapping[str, Any] | None:
    """The schema as JSON data; None where somebody registered what no contract can follow."""
    try:
        schema = json.loads(version.schema)
        fastavro.parse_schema(schema)
    except (ValueError, TypeError, KeyError, RecursionError, SchemaParseException, UnknownType):
        return None
    return schema if isinstance(schema, Mapping) and schema.get("type") == "record" else None


def _field_names(schema: Mapping[str, Any] | None) -> list[str]:
    return [str(one["name"]) for one in schema["fields"]] if schema else []
