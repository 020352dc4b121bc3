"""Every failure of mesh-stream, drawn as one tree; each family has one fate.

    MeshError
    ├── DeclarationError        a declaration is wrong -> refuse to start, all at once        exit 2
    ├── NotProvisionedError     broker or registry lack something -> refuse, name `apply`     exit 2
    ├── StateLostError          what is remembered does not fit  -> refuse, name `reset`      exit 2
    ├── SchemaRefusedError      the registry will not take a schema -> nothing registered    exit 2
    ├── RecordError             a record is wrong      -> dead letter, go on
    │   ├── PayloadError            its bytes cannot be read              class `payload`
    │   ├── ContractError           it breaks schema or rule              class `contract`
    │   └── CodeError               the transformation raised             class `code`
    ├── PlatformError           the platform is wrong  -> pause and retry, then stop         exit 3
    │   ├── BrokerError             Kafka
    │   ├── RegistryError           the schema registry
    │   ├── DependencyError         a service that a transformation called
    │   ├── StoreError              the folder that a worker keeps its state in
    │   └── AccessDeniedError       credentials or ACLs                                      exit 4
    ├── HaltError               a rule with action `fail` -> stop without committing         exit 1
    └── FencedError             another process has this slot's transactional id -> stop     exit 5

A platform fault is never turned into a dead letter: a good record must not be lost to a bad night.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


class MeshError(Exception):
    """The root: whatever mesh-stream raises on purpose. `exit_code` is the process's."""

    exit_code: ClassVar[int] = 1


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault of one declaration: where it is, what was found, what was expected, what to do.

    Attributes:
        path: The file, as the user named it.
        line: Its line, counted from 1; 0 where the whole file (or its absence) is meant.
        field: Dotted path of the field, such as `data_product.sla.freshness`; empty for the file.
        found: What stands there.
        expected: What may stand there.
        remedy: What to do about it; empty where `expected` already says so.
    """

    path: Path
    line: int
    field: str
    found: str
    expected: str
    remedy: str = ""

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else f"{self.path}"
        field = f" {self.field}:" if self.field else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{where}:{field} found {self.found}; expected {self.expected}{remedy}"


class DeclarationError(MeshError):
    """Declarations are wrong; carries every fault of every file, sorted by place."""

    exit_code = 2

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults: tuple[Fault, ...] = tuple(sorted(set(faults)))
        super().__init__("\n".join(str(fault) for fault in self.faults))


class NotProvisionedError(MeshError):
    """Broker or registry lack what the product declares, or have it otherwise.

    Args:
        product: The product that cannot start.
        problems: One sentence each: what is missing or different.
    """

    exit_code = 2

    def __init__(self, product: str, problems: Iterable[str]) -> None:
        self.product = product
        self.problems: tuple[str, ...] = tuple(problems)
        lines = "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(
            f"{product} cannot start: what it declares is not provisioned{lines}\n"
            f"run `mesh-stream plan` to see the difference, `mesh-stream apply` to mend it"
        )


class StateLostError(MeshError):
    """What a product remembers does not fit what it has read: going on would give wrong facts.

    Args:
        product: The product that does not go on.
        problems: One sentence each: what does not fit.
    """

    exit_code = 2

    def __init__(self, product: str, problems: Iterable[str]) -> None:
        self.product = product
        self.problems: tuple[str, ...] = tuple(problems)
        lines = "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(
            f"{product} does not go on: what it remembers does not fit what it has read{lines}\n"
            f"`mesh-stream reset {product}` shows what beginning anew would take, and does it "
            f"with --yes"
        )


class SchemaRefusedError(MeshError):
    """The registry will not take a schema: incompatible with an earlier one, or no schema."""

    exit_code = 2


class RecordError(MeshError):
    """A record is wrong. Raised by the stages, turned into a value in one place of the pipeline.

    Args:
        reason: What was found and what was expected; never the record's own values.
        rule: The rule that the record broke, or the stage's closed word for the fault.
    """

    fault_class: ClassVar[str] = "payload"

    def __init__(self, reason: str, *, rule: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.rule = rule


class PayloadError(RecordError):
    """The bytes cannot be read as the input's format and type."""

    fault_class = "payload"


class ContractError(RecordError):
    """The record breaks the schema or a quality rule."""

    fault_class = "contract"


class CodeError(RecordError):
    """The product's own code raised, or returned what no record is."""

    fault_class = "code"


class PlatformError(MeshError):
    """Something every record needs is out of order; retried, never dead-lettered."""

    exit_code = 3


class BrokerError(PlatformError):
    """Kafka is unreachable or answers with an error that no retry mended."""


class RegistryError(PlatformError):
    """The schema registry is unreachable, overloaded or broken."""


class DependencyError(PlatformError):
    """A service that a transformation needs is out of order. Product authors raise this one."""


class StoreError(PlatformError):
    """The folder of a state store: held by another, full, read-only, or no longer readable."""


class AccessDeniedError(PlatformError):
    """Broker or registry refused the credentials or the operation."""

    exit_code = 4


class HaltError(MeshError):
    """A record broke a rule whose action is `fail`: the product stops without committing it."""

    def __init__(self, reason: str, *, rule: str) -> None:
        super().__init__(reason)
        self.rule = rule


class FencedError(MeshError):
    """Another living process uses this slot's transactional id; this one gives way."""

    exit_code = 5
