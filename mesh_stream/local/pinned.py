"""What the embedded stack runs, to the byte: the lock beside this module, read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

LOCK_FILE = Path(__file__).with_name("artifacts.lock.json")


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of a Maven repository, by coordinate; `bytes` and `sha256` are what it must be."""

    group: str
    artifact: str
    version: str
    classifier: str
    packaging: str
    bytes: int
    sha256: str

    @property
    def filename(self) -> str:
        """Its name in any Maven repository."""
        classifier = f"-{self.classifier}" if self.classifier else ""
        return f"{self.artifact}-{self.version}{classifier}.{self.packaging}"

    def __str__(self) -> str:
        parts = (self.group, self.artifact, self.version, self.classifier)
        return ":".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Lock:
    """Everything the stack runs: the broker's class path and the registry's tarball."""

    broker: tuple[Artifact, ...]
    registry: Artifact


def read_lock(path: Path = LOCK_FILE) -> Lock:
    """Read the committed lock."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return Lock(
        broker=tuple(Artifact(**entry) for entry in document["broker"]),
        registry=Artifact(**document["registry"]),
    )
