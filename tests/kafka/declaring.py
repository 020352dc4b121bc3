"""Products of their own topics, for tests against the shared broker and registry."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesh_stream.local.stack import Stack
from mesh_stream.product.product import (
    Contract,
    Format,
    Input,
    Limits,
    Output,
    Product,
    Sla,
)
from mesh_stream.settings import Settings
from tests.pipeline.making import contract, decimal


def unique(prefix: str = "product") -> str:
    """A name that no other test has."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def order_contract(**more: Any) -> Contract:
    """The facts of the products here: an id and an amount, and what a test adds."""
    return contract(id="string", amount=decimal(18, 2), **more)


@dataclass(frozen=True)
class Declared:
    """What a test says of a product; the rest is by convention."""

    name: str
    domain: str = "orders"
    version: str = "1.0.0"
    contract: Contract | None = None
    partitions: int | None = None
    settings: Mapping[str, str] | None = None
    limits: Limits | None = None
    reads: tuple[Product, ...] = ()

    @property
    def product(self) -> Product:
        """The product, as the loader would hand it over."""
        raw = Input(f"raw.{self.name}", Format.JSON, None, None, None)
        ports = tuple(
            Input(read.output.topic, Format.AVRO, read.name, None, None, read.contract)
            for read in self.reads
        )
        major = self.version.split(".")[0]
        return Product(
            folder=Path("products") / self.domain / self.name,
            name=self.name,
            domain=self.domain,
            owner="orders-team",
            version=self.version,
            status="active",
            description="",
            documentation="",
            sla=Sla(60.0, 0.99),
            contract=self.contract or order_contract(),
            inputs=ports or (raw,),
            output=Output(
                f"{self.domain}.{self.name}.v{major}",
                None,
                None,
                self.partitions,
                self.settings or {},
            ),
            rules=(),
            limits=self.limits or Limits(),
        )


def settings_of(stack: Stack) -> Settings:
    """The settings of the shared stack."""
    return Settings.load(
        {
            "MESH_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
            "MESH_REGISTRY_URL": stack.registry_url,
        }
    )
