"""What a plan consists of: changes to broker and registry, each a value that says what it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NO_PRODUCT = ""
"""Stands for the product of what is the whole mesh's."""


@dataclass(frozen=True, slots=True)
class CreateTopic:
    """A topic that does not exist yet."""

    product: str
    role: str
    """`input`, `output`, `dead letter`, `repartition`, `changelog` or `status`."""
    topic: str
    partitions: int
    replicas: int
    settings: Mapping[str, str]

    def __str__(self) -> str:
        settings = "".join(f", {name}={value}" for name, value in sorted(self.settings.items()))
        return (
            f"create {self.role} topic {self.topic}: {counted(self.partitions, 'partition')}, "
            f"{counted(self.replicas, 'replica')}{settings}"
        )


@dataclass(frozen=True, slots=True)
class Change:
    """One setting: what it is now (None: nothing), and what it becomes."""

    name: str
    before: str | None
    after: str

    def __str__(self) -> str:
        return f"{self.name} from {self.before or 'nothing'} to {self.after}"


@dataclass(frozen=True, slots=True)
class AlterTopic:
    """Settings of a topic that differ from what is declared; the others stay as they are."""

    product: str
    role: str
    topic: str
    changes: tuple[Change, ...]

    def __str__(self) -> str:
        changes = ", ".join(str(change) for change in self.changes)
        return f"alter {self.role} topic {self.topic}: {changes}"


@dataclass(frozen=True, slots=True)
class AddPartitions:
    """An output topic that has fewer partitions than declared."""

    product: str
    topic: str
    before: int
    after: int

    def __str__(self) -> str:
        return (
            f"add partitions to output topic {self.topic}: from {self.before} to {self.after}; "
            "from then on most keys go to another partition than before"
        )


@dataclass(frozen=True, slots=True)
class SetCompatibility:
    """How a subject may evolve, where it is not set as declared."""

    product: str
    subject: str
    before: str | None
    after: str

    def __str__(self) -> str:
        before = f"from {self.before}" if self.before else "from the registry's default"
        return f"set compatibility of subject {self.subject} {before} to {self.after}"


@dataclass(frozen=True, slots=True)
class RegisterSchema:
    """A contract that is not registered yet.

    Attributes:
        product: Whose contract.
        subject: Where it is registered.
        schema: What is registered, as JSON text.
        follows: The version it succeeds; None: it is the first.
        added: Top-level fields that the version before did not have.
        removed: Top-level fields that only the version before has.
        readers: Products of the mesh that read the facts.
    """

    product: str
    subject: str
    schema: str
    follows: int | None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.follows is None:
            return f"register the first schema of subject {self.subject}"
        text = f"register a new schema of subject {self.subject}, after version {self.follows}"
        details = [
            f"{verb} {', '.join(names)}"
            for verb, names in (
                ("adds", self.added),
                ("removes", self.removed),
                ("read by", self.readers),
            )
            if names
        ]
        return f"{text} ({'; '.join(details)})" if details else text


Action = CreateTopic | AlterTopic | AddPartitions | SetCompatibility | RegisterSchema


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a product cannot be provisioned as declared, and what to do about it."""

    product: str
    sentence: str

    def __str__(self) -> str:
        return self.sentence


@dataclass(frozen=True, slots=True)
class Plan:
    """What would change, in order, and what stands in the way. Nothing of both: all is well."""

    actions: tuple[Action, ...]
    problems: tuple[Problem, ...]

    def applicable(self) -> tuple[Action, ...]:
        """The actions of products without a problem: a product is provisioned whole or not."""
        blocked = {problem.product for problem in self.problems}
        return tuple(action for action in self.actions if action.product not in blocked)


def counted(number: int, what: str) -> str:
    """Returns a number with its noun: `1 replica`, `4 partitions`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
