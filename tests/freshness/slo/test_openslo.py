"""The documents against the shape that OpenSLO publishes for openslo/v1 (README, "Object Types").

Its JSON Schemas cannot be used: that of an SLO requires a field without a name, and knows ratio
metrics by a misspelt one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
import yaml
from msgspec import Meta, Struct

from mesh_stream.freshness.slo.openslo import datasource_documents, product_documents
from mesh_stream.product.product import Product
from tests.freshness.slo.conftest import promising

Name = Annotated[str, Meta(max_length=63, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
Label = Annotated[
    str, Meta(min_length=1, max_length=63, pattern=r"^[a-z0-9A-Z][a-z0-9A-Z._-]*[a-z0-9A-Z]*$")
]
Description = Annotated[str, Meta(max_length=1050)]
Duration = Annotated[str, Meta(pattern=r"^[1-9][0-9]*[mhdwMQY]$")]


class Strict(Struct, forbid_unknown_fields=True, rename="camel"):
    """Nothing that the specification does not name."""


class Metadata(Strict):
    name: Name
    display_name: Annotated[str, Meta(min_length=1)] | msgspec.UnsetType = msgspec.UNSET
    labels: dict[Label, Label] = {}


class Query(Strict):
    query: str


class Source(Strict):
    type: str
    spec: Query
    metric_source_ref: Name | msgspec.UnsetType = msgspec.UNSET


class Metric(Strict):
    metric_source: Source


class Ratio(Strict):
    counter: bool
    good: Metric
    total: Metric


class IndicatorSpec(Strict):
    ratio_metric: Ratio


class Indicator(Strict):
    metadata: Metadata
    spec: IndicatorSpec


class TimeWindow(Strict):
    duration: Duration
    is_rolling: Literal[True]


class Objective(Strict):
    display_name: str
    target: Annotated[float, Meta(ge=0, lt=1)]
    time_slice_target: Annotated[float, Meta(gt=0, le=1)] | msgspec.UnsetType = msgspec.UNSET
    time_slice_window: Duration | msgspec.UnsetType = msgspec.UNSET


class SloSpec(Strict):
    description: Description
    service: Name
    indicator: Indicator
    time_window: Annotated[list[TimeWindow], Meta(min_length=1, max_length=1)]
    budgeting_method: Literal["Occurrences", "Timeslices", "RatioTimeslices"]
    objectives: Annotated[list[Objective], Meta(min_length=1)]


class ServiceSpec(Strict):
    description: Description


class DataSourceSpec(Strict):
    type: str
    connection_details: dict[str, str]


class Document(Strict, tag_field="kind"):
    api_version: Literal["openslo/v1"]
    metadata: Metadata


class Slo(Document, tag="SLO", kw_only=True):
    spec: SloSpec


class Service(Document, tag="Service", kw_only=True):
    spec: ServiceSpec


class DataSource(Document, tag="DataSource", kw_only=True):
    spec: DataSourceSpec


def read(documents: Any) -> list[Slo | Service | DataSource]:
    return msgspec.convert(list(documents), list[Slo | Service | DataSource])


def test_every_generated_document_is_of_the_published_shape(generated: Path) -> None:
    files = sorted((generated / "openslo").glob("*.yaml"))

    kinds = [
        [type(document).__name__ for document in read(yaml.safe_load_all(file.read_text()))]
        for file in files
    ]

    assert kinds.count(["DataSource"]) == 1
    assert kinds.count(["Service", "Slo", "Slo"]) == len(files) - 1 > 0


def test_what_a_document_refers_to_is_there(product: Product) -> None:
    service, *slos = read(product_documents(product))
    (datasource,) = read(datasource_documents())

    for slo in slos:
        assert isinstance(slo, Slo)
        ratio = slo.spec.indicator.spec.ratio_metric
        assert slo.spec.service == service.metadata.name
        assert ratio.good.metric_source.metric_source_ref == datasource.metadata.name
        assert ratio.total.metric_source.metric_source_ref == datasource.metadata.name


def test_minutes_are_time_slices_and_records_occurrences(product: Product) -> None:
    _, minutes, records = read(product_documents(product))

    assert isinstance(minutes, Slo)
    assert isinstance(records, Slo)
    assert minutes.spec.budgeting_method == "Timeslices"
    assert minutes.spec.objectives[0].time_slice_window == "1m"
    assert minutes.spec.objectives[0].time_slice_target == 1
    assert records.spec.budgeting_method == "Occurrences"
    assert records.spec.objectives[0].time_slice_window is msgspec.UNSET
    assert minutes.spec.objectives[0].target == records.spec.objectives[0].target == 0.999


def test_a_promise_of_all_is_the_most_that_a_document_can_ask_for(product: Product) -> None:
    _, minutes, _ = read(product_documents(promising(product, 1.0)))

    assert isinstance(minutes, Slo)
    assert 0.99999 < minutes.spec.objectives[0].target < 1


def test_a_product_that_speaks_when_windows_close_may_be_as_much_older(
    products: dict[str, Product],
) -> None:
    _, minutes, records = read(product_documents(products["revenue-hourly"]))

    assert isinstance(minutes, Slo)
    assert isinstance(records, Slo)
    assert "at most 2 hours old" in minutes.spec.description
    assert "within 1 hour of when it happened" in records.spec.description


@pytest.mark.parametrize("text", ["x" * 5000])
def test_a_long_description_is_cut(product: Product, text: str) -> None:
    import dataclasses

    (service, *_) = read(product_documents(dataclasses.replace(product, description=text)))

    assert isinstance(service, Service)
