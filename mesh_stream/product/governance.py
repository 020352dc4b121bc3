"""Reads `products/governance.yaml`: the standards that hold for every product of the mesh.

Defaults fill in what a product leaves out. Policies refuse what a product may not be; each has
teeth in `validate`, and none is applied that the file does not name. Without the file, the
defaults below hold and there is no policy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from mesh_stream.errors import Fault
from mesh_stream.product.declaration import Compatibility, ProductDeclaration
from mesh_stream.product.declared_values import Duration, Id, Retention, Settings, Share
from mesh_stream.product.fields import MAX_PRECISION
from mesh_stream.product.product import Contract
from mesh_stream.product.sla import UnreadableError
from mesh_stream.product.validation import Declared, one_of, validated
from mesh_stream.product.yaml_source import Document, read_yaml, shown

FILE = "governance.yaml"
Requirable = Literal["documentation", "support", "tags", "field_descriptions", "quality"]


class DecimalDefault(Declared):
    """The digits of a `decimal` that declares none."""

    precision: Annotated[int, Field(ge=1, le=MAX_PRECISION)] = Field(
        default=18, description="Digits in all.", examples=[18]
    )
    scale: Annotated[int, Field(ge=0, le=MAX_PRECISION)] = Field(
        default=2, description="Digits after the point.", examples=[2]
    )

    @model_validator(mode="after")
    def _fits(self) -> DecimalDefault:
        if self.scale > self.precision:
            raise UnreadableError("a scale of at most the precision", found=f"scale {self.scale}")
        return self


class Defaults(Declared):
    """What holds where a product says nothing."""

    decimal: DecimalDefault = Field(
        default_factory=lambda: DecimalDefault(),
        description="The digits of a `decimal` that declares none.",
        examples=[{"precision": 18, "scale": 2}],
    )
    compatibility: Compatibility = Field(
        default="BACKWARD",
        description="How contracts may evolve (the registry's levels).",
        examples=["BACKWARD_TRANSITIVE"],
    )
    partitions: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        default=None,
        description="Partitions of output topics; left out: as many as the first input.",
        examples=[6],
    )
    retention: Retention | None = Field(
        default=None,
        description="How long facts are kept; left out: the broker's.",
        examples=["90_days"],
    )
    settings: Settings = Field(
        default_factory=dict,
        description="Settings of every output topic, by the broker's own names.",
        examples=[{"min.insync.replicas": 2}],
    )


def _pattern(text: object) -> object:
    if isinstance(text, str):
        try:
            re.compile(text)
        except re.error as cause:
            raise UnreadableError(f"a regular expression ({cause})") from cause
    return text


class Policies(Declared):
    """What no product may be without."""

    require: tuple[Requirable, ...] = Field(
        default=(),
        description="What every product must say beyond the obligatory.",
        examples=[["documentation", "support"]],
    )
    owner: Annotated[str, BeforeValidator(_pattern)] | None = Field(
        default=None,
        description="A regular expression that the whole of `owner` must match.",
        examples=["[a-z-]+-team"],
    )
    domains: tuple[Id, ...] | None = Field(
        default=None,
        min_length=1,
        description="The domains there are; no other may have products.",
        examples=[["orders", "customers"]],
    )
    compatibility: tuple[Compatibility, ...] | None = Field(
        default=None,
        min_length=1,
        description="The levels of evolution that a contract may declare.",
        examples=[["BACKWARD", "BACKWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"]],
    )
    max_freshness: Duration | None = Field(
        default=None, description="The slackest freshness that may be promised.", examples=["1_day"]
    )
    min_availability: Share | None = Field(
        default=None, description="The lowest availability that may be promised.", examples=["99%"]
    )
    max_retention: Duration | None = Field(
        default=None, description="The longest that facts may be kept.", examples=["365_days"]
    )


class Governance(Declared):
    """The global standards."""

    defaults: Defaults = Field(
        default_factory=lambda: Defaults(),
        description="What holds where a product says nothing.",
        examples=[{"compatibility": "BACKWARD"}],
    )
    policies: Policies = Field(
        default_factory=lambda: Policies(),
        description="What no product may be without.",
        examples=[{"require": ["documentation"]}],
    )


class GovernanceDocument(Declared):
    """The file `governance.yaml`."""

    governance: Governance = Field(description="The global standards.")


def load_governance(root: Path) -> Governance:
    """Reads the standards of a mesh; without the file, those of this module.

    Raises:
        DeclarationError: With every fault of the file.
    """
    path = root / FILE
    if not path.exists():
        return Governance()
    return validated(read_yaml(path), GovernanceDocument).governance


def policy_faults(
    policies: Policies, document: Document, declared: ProductDeclaration, domain: str
) -> Iterator[Fault]:
    """Yields where a declaration breaks a policy."""

    def fault(field: str, found: object, expected: str) -> Fault:
        where = ("data_product", *field.split("."))
        text = found if isinstance(found, str) else shown(found)
        return document.fault(where, text, f"{expected}, by the policies of {FILE}")

    sla = declared.sla
    if policies.owner is not None and not re.fullmatch(policies.owner, declared.owner):
        yield fault("owner", repr(declared.owner), f"what matches {policies.owner}")
    if policies.domains is not None and domain not in policies.domains:
        yield fault("domain", repr(domain), one_of(policies.domains))
    if policies.max_freshness is not None and sla.freshness > policies.max_freshness:
        longest = f"at most {policies.max_freshness:f} seconds"
        yield fault("sla.freshness", f"{sla.freshness:f} seconds", longest)
    if policies.min_availability is not None and sla.availability < policies.min_availability:
        least = f"at least {policies.min_availability * 100:f}%"
        yield fault("sla.availability", f"{sla.availability * 100:f}%", least)
    kept = declared.output.retention
    longest_kept = policies.max_retention
    if longest_kept is not None and kept is not None and not 0 < kept <= longest_kept:
        found = "forever" if kept < 0 else f"{kept:f} seconds"
        yield fault("output.retention", found, f"at most {longest_kept:f} seconds")
    for name in ("documentation", "support", "tags"):
        if name in policies.require and not getattr(declared, name):
            yield fault(name, "nothing", f"{name}")


def contract_faults(
    policies: Policies, document: Document, contract: Contract, rules: int
) -> Iterator[Fault]:
    """Yields where a contract or its rules break a policy."""

    def fault(field: str, found: str, expected: str) -> Fault:
        where = ("data_product", field)
        return document.fault(where, found, f"{expected}, by the policies of {FILE}")

    levels = policies.compatibility
    if levels is not None and contract.compatibility not in levels:
        yield fault("schema", f"the compatibility {contract.compatibility}", one_of(levels))
    if "field_descriptions" in policies.require:
        mute = [field["name"] for field in contract.schema["fields"] if not field.get("doc")]
        if mute:
            expected = "a description of every field (`doc` in Avro)"
            yield fault("schema", f"no description of {', '.join(mute)}", expected)
    if "quality" in policies.require and not rules:
        yield fault("quality", "no rule", "at least one quality rule")
