"""The SLOs as OpenSLO documents (openslo/v1), for tools that read those.

Minutes are time slices, records occurrences. https://github.com/OpenSLO/OpenSLO has the
specification.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from mesh_stream.freshness.sli import objective_of
from mesh_stream.freshness.slo.objectives import MINUTES, Slo, percent, slos_of
from mesh_stream.freshness.slo.scraping import DATASOURCE, PROMETHEUS
from mesh_stream.freshness.slo.windows import PERIOD
from mesh_stream.product.product import Product
from mesh_stream.product.sla import duration_text

API = "openslo/v1"
MOST = Decimal("0.999999999")
"""The most that an OpenSLO document can ask for: its targets lie below 1."""
LONGEST = 1050
"""Characters of a description."""

Document = dict[str, Any]


def datasource_documents() -> Iterator[Document]:
    """Where the figures come from: one document for the mesh."""
    yield _document(
        "DataSource",
        DATASOURCE,
        "The Prometheus that scrapes the mesh",
        {"type": "Prometheus", "connectionDetails": {"url": PROMETHEUS}},
    )


def product_documents(product: Product) -> Iterator[Document]:
    """A product as a service, and its two SLOs."""
    yield _document(
        "Service",
        product.name,
        product.name,
        {"description": f"{product.description} Owner: {product.owner}."[:LONGEST]},
        domain=product.domain,
    )
    for slo in slos_of(product):
        yield _slo(slo)


def _slo(slo: Slo) -> Document:
    product = slo.product
    promised = objective_of(product)
    promise = percent(slo.objective)
    objective: Document = {
        "displayName": f"{promise} of {slo.name}",
        "target": float(min(slo.objective, MOST)),
    }
    if slo.name == MINUTES:
        description = (
            f"A minute is good if the newest fact of {product.name} is at most "
            f"{_spoken(promised.newest)} old, or everything that arrived has been processed and "
            f"the input is silent. {promise} are."
        )
        objective |= {"timeSliceTarget": 1.0, "timeSliceWindow": "1m"}
    else:
        description = (
            f"A fact of {product.name} is good if it is committed within "
            f"{_spoken(promised.freshness)} of when it happened. {promise} are."
        )
    return _document(
        "SLO",
        slo.id,
        f"{product.name}: {slo.name}",
        {
            "description": description,
            "service": product.name,
            "indicator": {
                "metadata": {"name": slo.id},
                "spec": {
                    "ratioMetric": {
                        "counter": True,
                        "good": _source(slo, "good_events"),
                        "total": _source(slo, "events"),
                    }
                },
            },
            "timeWindow": [{"duration": PERIOD, "isRolling": True}],
            "budgetingMethod": "Timeslices" if slo.name == MINUTES else "Occurrences",
            "objectives": [objective],
        },
        domain=product.domain,
        product=product.name,
    )


def _spoken(seconds: float) -> str:
    return duration_text(round(seconds * 1000)).replace("_", " ")


def _source(slo: Slo, which: str) -> Document:
    return {
        "metricSource": {
            "metricSourceRef": DATASOURCE,
            "type": "Prometheus",
            "spec": {"query": f"sum({slo.counted(which)})"},
        }
    }


def _document(kind: str, name: str, display_name: str, spec: Document, **labels: str) -> Document:
    metadata: Document = {"name": name, "displayName": display_name}
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec}
