"""Whether a demo's books balance: what went in against what came out, told twice.

Once by the workers' counters, once by what a read-committed consumer found on the topics. What was
filtered leaves no trace on any topic; it is what is left, and must be what the counters say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mesh_stream.freshness.figures import Figures
from mesh_stream.local.arrivals import Arrived
from mesh_stream.product.product import Product


@dataclass(frozen=True, slots=True)
class Account:
    """What became of one product's input.

    Attributes:
        product: The product.
        told: By its workers' counters.
        read: By a consumer of its topics.
        restarts: How often its workers were restarted.
    """

    product: Product
    told: Figures
    read: Arrived
    restarts: int = 0

    def differences(self) -> Iterator[str]:
        """Where the books do not balance, one sentence each; none if they do."""
        told, read, product = self.told, self.read, self.product
        for what, counted, found in (
            ("input records", told.consumed.total(), read.inputs),
            (f"facts on {product.output.topic}", told.produced[product.output.topic], read.facts),
            (
                f"dead letters on {product.dead_letter_topic}",
                told.produced[product.dead_letter_topic],
                read.letters.total() + read.windows.total(),
            ),
        ):
            if counted != found:
                yield f"{what}: the workers counted {counted:,}, read were {found:,}"
        for fault_class, rule in sorted(told.rejected.keys() | read.letters.keys()):
            counted, found = told.rejected[fault_class, rule], read.letters[fault_class, rule]
            if counted != found:
                yield (
                    f"rejected by {fault_class}/{rule}: the workers counted {counted:,}, "
                    f"dead letters were {found:,}"
                )
        left = read.inputs - told.sources - told.filtered.total() - read.letters.total()
        if left:
            yield f"{left:,} input records are neither a fact's source, filtered nor rejected"
        if read.strange:
            yield f"{read.strange:,} records on {product.output.topic} are no facts"
        if self.restarts and any((told.consumed.total() != read.inputs, left)):
            yield (
                f"its workers were restarted {self.restarts} times, and what one counted after it "
                f"was last asked died with it: the topics are right, the counters are short"
            )

    def document(self) -> dict[str, Any]:
        """The account as JSON data."""
        ages, objective = self.read.ages, self.product.sla.freshness_seconds
        return {
            "in": self.read.inputs,
            "sources": self.told.sources,
            "facts": self.read.facts,
            "filtered": dict(sorted(self.told.filtered.items())),
            "rejected": _by_rule(self.read.letters),
            "rejected_windows": _by_rule(self.read.windows),
            "tolerated": dict(sorted(self.told.tolerated.items())),
            "fresh": {
                "objective_seconds": objective,
                "within_ratio": ages.share_within(objective * 1000),
                "p50_ms": ages.quantile(0.5),
                "p99_ms": ages.quantile(0.99),
            },
            "restarts": self.restarts,
            "differences": list(self.differences()),
        }


@dataclass(frozen=True, slots=True)
class Fed:
    """What was fed: so many records, onto these topics."""

    topics: tuple[str, ...]
    records: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a demo did.

    Attributes:
        accounts: Product -> its account.
        fed: What was fed; None without a feed.
        read_of_fed: Records found on those topics since.
        problems: What went wrong besides the books, one sentence each.
    """

    accounts: Mapping[str, Account]
    fed: Fed | None
    read_of_fed: int
    problems: tuple[str, ...]

    def differences(self) -> list[str]:
        """Everything that does not balance; empty: all does."""
        found = list(self.problems)
        if self.fed is not None and self.read_of_fed < self.fed.records:
            topics, records = ", ".join(self.fed.topics), self.fed.records
            found.append(f"{topics}: {records:,} records were fed, read were {self.read_of_fed:,}")
        for name, account in self.accounts.items():
            found += [f"{name}: {sentence}" for sentence in account.differences()]
        return found

    def document(self) -> dict[str, Any]:
        """The summary as JSON data."""
        return {
            "balanced": not self.differences(),
            "published": sum(account.read.facts for account in self.accounts.values()),
            "fed": (
                {"topics": list(self.fed.topics), "records": self.fed.records}
                if self.fed is not None
                else None
            ),
            "products": {name: account.document() for name, account in self.accounts.items()},
            "differences": self.differences(),
        }


def _by_rule(letters: Counter[tuple[str, str]]) -> dict[str, int]:
    return {f"{fault_class}/{rule}": count for (fault_class, rule), count in letters.most_common()}
