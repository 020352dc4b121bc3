"""What the monitor knows of a product, as values: for its metrics, its table, and the console."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mesh_stream.freshness.sli import Evidence, Objective, Verdict
from mesh_stream.kafka.groups import Partition
from mesh_stream.product.product import Product
from mesh_stream.runtime.status import Status


@dataclass(frozen=True, slots=True)
class Seen:
    """What the last look at one product has shown.

    Attributes:
        evidence: What its state is judged by.
        statuses: Slot -> what its worker last said.
        unread: Offsets between what its group has committed and the ends of what it reads. What no
            reader sees takes offsets, too: a few of them mean nothing.
        dead_letters: Offsets that its dead letter topic still holds; commit markers among them.
        ends: Partition -> its end, of everything it reads and writes.
        problem: Why the last look failed, in which case all of this is older; empty where it did
            not.
    """

    evidence: Evidence = field(default_factory=Evidence)
    statuses: Mapping[int, Status] = field(default_factory=dict)
    unread: int = 0
    dead_letters: int = 0
    ends: Mapping[Partition, int] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """One product at one moment.

    Attributes:
        product: The product.
        objective: What it promises.
        at: The moment, in seconds since the epoch.
        verdict: What its output is then.
        seen: By what that was judged.
    """

    product: Product
    objective: Objective
    at: float
    verdict: Verdict
    seen: Seen

    @property
    def age(self) -> float | None:
        """How old the newest fact is, in seconds; None where there is none."""
        newest = self.seen.evidence.newest_fact
        return None if newest is None else max(0.0, self.at - newest)

    @property
    def waits(self) -> float | None:
        """For how long a record has been waiting here, in seconds; None where none does."""
        waiting = self.seen.evidence.waiting
        return None if waiting is None else max(0.0, self.at - waiting.arrived)
