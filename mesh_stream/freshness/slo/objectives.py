"""The two SLOs of a product: what each counts, what it is called, and what may go wrong of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from mesh_stream.freshness.slo.windows import BURNS, Burn
from mesh_stream.product.product import Product

RECORDS, MINUTES = "records", "minutes"
LEAST_LATE = 10
"""Records that must have come late before it says anything. Of few records one alone is a large
share; where so few come, the minutes tell whether the output is up to date."""


@dataclass(frozen=True, slots=True)
class Slo:
    """One SLO of one product.

    Attributes:
        product: The product.
        name: `records` or `minutes`, as in the label `slo` of what is counted.
    """

    product: Product
    name: str

    @property
    def id(self) -> str:
        """Its name in the whole mesh, as Sloth builds it."""
        return f"{self.product.name}-{self.name}"

    @property
    def objective(self) -> Decimal:
        """The share that has to be good, of 1; exact."""
        return Decimal(str(self.product.sla.availability))

    @property
    def budget(self) -> Decimal:
        """The share that may be bad, of 1; exact."""
        return 1 - self.objective

    @property
    def labels(self) -> Mapping[str, str]:
        """What every series that is recorded of it carries."""
        return {
            "domain": self.product.domain,
            "owner": self.product.owner,
            "product": self.product.name,
            "sloth_id": self.id,
            "sloth_service": self.product.name,
            "sloth_slo": self.name,
        }

    @property
    def burns(self) -> tuple[Burn, ...]:
        """The rates that its budget can burn at: nothing is worse than all bad."""
        return tuple(burn for burn in BURNS if burn.factor * Fraction(self.budget) < 1)

    def counted(self, which: str, **labels: str) -> str:
        """The selector of a counter of its events: `events`, `good_events` or `bad_events`."""
        wanted = {"product": self.product.name, "slo": self.name, **labels}
        return f"mesh_slo_{which}_total{{{matchers(wanted)}}}"

    def recorded(self, name: str, **labels: str) -> str:
        """The selector of one of its recorded series."""
        return f"{name}{{{matchers({'sloth_id': self.id, **labels})}}}"


def slos_of(product: Product) -> tuple[Slo, Slo]:
    """The two SLOs of a product."""
    return Slo(product, MINUTES), Slo(product, RECORDS)


def matchers(labels: Mapping[str, str]) -> str:
    """Writes label matchers. The values are ids: nothing in them needs to be escaped."""
    return ",".join(f'{name}="{value}"' for name, value in labels.items())


def percent(share: Decimal) -> str:
    """Writes a share of 1 as a percentage, without trailing zeros: `99.9%`."""
    return f"{(share * 100).normalize():f}%"


def plain(number: Decimal) -> str:
    """Writes a number without exponent or trailing zeros."""
    return f"{number.normalize():f}"
