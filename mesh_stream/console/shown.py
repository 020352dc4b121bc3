"""What the page shows of the mesh at one moment, as values: worst first, never greener than known.

The monitor believes what it has seen for a minute, so that minutes are counted by what products
are. Whoever looks at the page wants to know at once that nobody sees any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mesh_stream.console.activity import Activity
from mesh_stream.freshness.monitor import Minutes
from mesh_stream.freshness.reading import Reading
from mesh_stream.freshness.sli import UNKNOWN, Blame, State, Verdict
from mesh_stream.product.product import Product

MISSED_SECONDS = 2.5
"""One look may fail, and the next be better."""
BLIND_SECONDS = 8.0
"""Without a failure to tell of: longer than the longest look."""
ORDER = (State.STALE, State.UNKNOWN, State.IDLE, State.FRESH)


def verdict_of(reading: Reading) -> Verdict:
    """What a product is as far as anybody can tell now."""
    unseen_for = reading.at - reading.seen.evidence.seen_at
    limit = MISSED_SECONDS if reading.seen.problem else BLIND_SECONDS
    return UNKNOWN if unseen_for > limit else reading.verdict


@dataclass(frozen=True, slots=True)
class Budget:
    """What is left of the bad minutes that the availability allows.

    Attributes:
        left: A share of 1, below 0 where more is gone; None: nothing was counted yet.
        of: In words, of what.
    """

    left: float | None
    of: str


def budget_of(minutes: Minutes, availability: float, since: str) -> Budget:
    """The budget of the minutes that were counted here."""
    bad, total = minutes.bad.total(), minutes.total
    of = f"{bad:,} bad of {total:,} min since {since}"
    if not total:
        return Budget(None, f"no minute counted since {since}")
    allowed = 1 - availability
    if not bad:
        return Budget(1.0, of)
    return Budget(1 - bad / total / allowed if allowed > 0 else -1.0, of)


@dataclass(frozen=True, slots=True)
class Shown:
    """One product as the page shows it.

    Attributes:
        reading: What was seen.
        verdict: What it is as far as anybody can tell now.
        budget: What is left of its budget.
        activity: What its workers say that they do.
    """

    reading: Reading
    verdict: Verdict
    budget: Budget
    activity: Activity

    @property
    def product(self) -> Product:
        """The product."""
        return self.reading.product

    @property
    def name(self) -> str:
        """Its name."""
        return self.reading.product.name


def worst_first(products: Iterable[Shown]) -> list[Shown]:
    """Stale ones first, own faults before others', then what nobody sees; then by name."""
    return sorted(
        products,
        key=lambda one: (
            ORDER.index(one.verdict.state), one.verdict.blame is not Blame.OWN, one.name,
        ),
    )  # fmt: skip


def tally(products: Iterable[Shown]) -> list[tuple[State, int]]:
    """State -> how many products, worst first; states that occur."""
    found = Counter(one.verdict.state for one in products)
    return [(state, found[state]) for state in ORDER if found[state]]


def title(products: Sequence[Shown]) -> str:
    """The page's title: the worst that there is to say."""
    counts = tally(products)
    if not counts:
        return "no products - mesh"
    state, count = counts[0]
    good = state in {State.FRESH, State.IDLE}
    return "all up to date - mesh" if good else f"{count} {state} - mesh"


def blindness(products: Sequence[Shown]) -> str:
    """Why nothing can be seen at all; empty where something can, or looking has just begun."""
    if not products or any(one.verdict.state is not State.UNKNOWN for one in products):
        return ""
    problems = {one.reading.seen.problem for one in products} - {""}
    return min(problems, default="")
