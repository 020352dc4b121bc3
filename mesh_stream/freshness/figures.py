"""What workers say of themselves: their `/metrics` pages as figures, added up per product.

A worker's counters begin at 0 in every process. `Slot` adds what its earlier processes had counted
when they were last asked, so that a restart does not make a product forget.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

SCRAPE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What one worker, or all of a product's, have counted.

    Attributes:
        consumed: Input topic -> records.
        produced: Topic -> facts or dead letters.
        sources: Input records that became at least one fact.
        filtered: Reason -> input records; reasons that occurred.
        rejected: (class, rule) -> input records; rules that were broken.
        tolerated: Rule that is only observed or warned of -> how often it was broken.
        lag: Records not yet read.
        newest_event: Event time of the newest fact, seconds since the epoch; 0 before the first.
        states: What the workers are doing, each once.
        created: When the counting began, seconds since the epoch: tells one process from the next.
        judged: Records that rules were applied to.
        broken: Rule -> how often it was broken; rules that were.
    """

    consumed: Counter[str] = field(default_factory=Counter)
    produced: Counter[str] = field(default_factory=Counter)
    sources: int = 0
    filtered: Counter[str] = field(default_factory=Counter)
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    tolerated: Counter[str] = field(default_factory=Counter)
    lag: int = 0
    newest_event: float = 0.0
    states: frozenset[str] = frozenset()
    created: float = 0.0
    judged: int = 0
    broken: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            self.consumed + other.consumed,
            self.produced + other.produced,
            self.sources + other.sources,
            self.filtered + other.filtered,
            self.rejected + other.rejected,
            self.tolerated + other.tolerated,
            self.lag + other.lag,
            max(self.newest_event, other.newest_event),
            self.states | other.states,
            max(self.created, other.created),
            self.judged + other.judged,
            self.broken + other.broken,
        )

    @property
    def score(self) -> float | None:
        """The share of judged records that broke no rule; None where none was judged.

        One that broke several rules which let it pass counts for each: the share is a lower bound.
        """
        return max(0.0, 1 - self.broken.total() / self.judged) if self.judged else None

    @property
    def imbalance(self) -> int:
        """Input records that are neither a fact's source, filtered nor rejected: 0."""
        accounted = self.sources + self.filtered.total() + self.rejected.total()
        return self.consumed.total() - accounted


def parse(page: str) -> Figures:
    """Read a worker's metrics page.

    Raises:
        ValueError: It is no metrics page.
    """
    samples = [
        sample for family in text_string_to_metric_families(page) for sample in family.samples
    ]
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample)

    def counts(name: str, label: str) -> Counter[str]:
        return +Counter({s.labels[label]: int(s.value) for s in by_name.get(name, ())})

    def values(name: str) -> list[float]:
        return [sample.value for sample in by_name.get(name, ())]

    rejected = +Counter(
        {
            (sample.labels["class"], sample.labels["rule"]): int(sample.value)
            for sample in by_name.get("mesh_records_rejected_total", ())
        }
    )
    judged: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    for sample in by_name.get("mesh_rule_evaluations_total", ()):
        judged[sample.labels["rule"]] += int(sample.value)
        if sample.labels["outcome"] == "broken":
            broken[sample.labels["rule"]] += int(sample.value)
    return Figures(
        consumed=counts("mesh_records_consumed_total", "topic"),
        produced=counts("mesh_records_produced_total", "topic"),
        sources=int(sum(values("mesh_records_sources_total"))),
        filtered=counts("mesh_records_filtered_total", "reason"),
        rejected=rejected,
        tolerated=broken - Counter({rule: rejected["contract", rule] for rule in broken}),
        lag=int(sum(values("mesh_consumer_lag_records"))),
        newest_event=max(values("mesh_output_last_event_timestamp_seconds"), default=0.0),
        states=frozenset(
            sample.labels["state"]
            for sample in by_name.get("mesh_worker_state", ())
            if sample.value
        ),
        created=max(values("mesh_worker_began_timestamp_seconds"), default=0.0),
        # Every record is judged by every rule.
        judged=max(judged.values(), default=0),
        broken=+broken,
    )


class Slot:
    """The figures of one worker slot, over all its processes.

    Args:
        address: `host:port` of its metrics.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._before = Figures()
        self._latest = Figures()

    def ask(self, client: httpx.Client) -> Figures:
        """What the slot has counted until now; a worker that does not answer is `gone`."""
        try:
            page = client.get(f"http://{self.address}/metrics", timeout=SCRAPE_SECONDS)
            self._take(parse(page.raise_for_status().text))
        except (httpx.HTTPError, ValueError, KeyError):
            state = "gone" if self._latest.created else "starting"
            return self._before + replace(self._latest, lag=0, states=frozenset({state}))
        return self._before + self._latest

    def _take(self, figures: Figures) -> None:
        if self._latest.created and figures.created != self._latest.created:
            self._before += replace(self._latest, lag=0, states=frozenset())
        self._latest = figures


def total(figures: Iterable[Figures]) -> Figures:
    """All of them together."""
    return sum(figures, Figures())
