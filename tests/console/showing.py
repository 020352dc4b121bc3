"""Products as the page shows them, for tests that need neither broker nor browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mesh_stream.console.activity import Activity
from mesh_stream.console.shown import Budget, Shown, verdict_of
from mesh_stream.freshness.reading import Reading, Seen
from mesh_stream.freshness.sli import FRESH, Evidence, Verdict, objective_of
from mesh_stream.product.loader import load_product
from mesh_stream.product.product import Input, Product

PRODUCT = load_product(Path(__file__).parents[2] / "products/orders/orders-completed")
NOW = 1_800_000_000.0


def reading(
    verdict: Verdict = FRESH,
    *,
    product: Product = PRODUCT,
    seen: float = 0.0,
    age: float | None = 1.0,
    problem: str = "",
) -> Reading:
    """A product at `NOW`, seen so many seconds before, with a newest fact of this age."""
    newest = None if age is None else NOW - age
    evidence = Evidence(seen_at=NOW - seen, newest_fact=newest)
    return Reading(product, objective_of(product), NOW, verdict, Seen(evidence, problem=problem))


def shown(name: str, verdict: Verdict = FRESH, *, reads: tuple[str, ...] = ("raw.a",)) -> Shown:
    """A product of a name that reads these: `raw.` topics, else products."""
    ports = tuple(_port(source) for source in reads)
    found = reading(verdict, product=replace(PRODUCT, name=name, inputs=ports))
    return Shown(found, verdict_of(found), Budget(None, ""), Activity())


def _port(source: str) -> Input:
    of = None if source.startswith("raw.") else source
    topic = f"shop.{source}.v1" if of else source
    return replace(PRODUCT.inputs[0], topic=topic, product=of)
