"""Which path the records of each topic take: a product's pipelines, put together.

without state             input ──▶ Pipeline ──▶ output topic
keyed by the state's key  input ──▶ Pipeline ──▶ fold ──▶ output topic
keyed otherwise           input ──▶ Pipeline ──▶ the product's own topic, keyed by the state's key
                          own topic ──▶ Pipeline ──▶ fold ──▶ output topic
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mesh_stream.pipeline.avro_input import WriterSchemas
from mesh_stream.pipeline.events import Timing, repartitioned_type
from mesh_stream.pipeline.fold import Fold
from mesh_stream.pipeline.input_time import InputTime
from mesh_stream.pipeline.pipeline import Pipeline, Sink
from mesh_stream.pipeline.sinks import Direct, Forward, Repartitioned
from mesh_stream.product.product import Format, Input, Product, Transformation


@dataclass(frozen=True, slots=True)
class Paths:
    """A product's pipelines.

    Attributes:
        pipelines: Topic that is read -> the path of its records.
        forwards: Those of them whose records go on to the product's own topic.
        fold: What the product remembers, or None.
        fold_topic: The topic whose partitions its states belong to, or None.
    """

    pipelines: Mapping[str, Pipeline]
    forwards: Mapping[str, Forward] = field(default_factory=dict)
    fold: Fold | None = None
    fold_topic: str | None = None

    def target(self, product: Product, topic: str) -> str:
        """Where what becomes of a topic's records goes."""
        return product.repartition_topic if topic in self.forwards else product.output.topic


def paths_of(product: Product, *, schema_id: int, writers: WriterSchemas) -> Paths:
    """Put a product's pipelines together.

    Args:
        product: The product.
        schema_id: The registry's id of its contract.
        writers: Finds the schemas of Avro input.
    """
    if product.state is None:
        return Paths(
            {
                port.topic: Pipeline(product, port, schema_id=schema_id, writers=writers)
                for port in product.inputs
            }
        )
    fold = Fold(product, schema_id=schema_id)
    pipelines: dict[str, Pipeline] = {}
    forwards: dict[str, Forward] = {}
    for port in product.inputs:
        time = _time(product, port)
        timing = Timing(product.state, time)
        sink: Sink
        if product.state.repartitions:
            sink = forwards[port.topic] = Forward(product.state, timing)
        else:
            sink = Direct(fold, timing)
        pipelines[port.topic] = Pipeline(
            product, port, schema_id=schema_id, writers=writers, sink=sink, time=time
        )
    if not product.state.repartitions:
        return Paths(pipelines, {}, fold, product.inputs[0].topic)
    pipelines[product.repartition_topic] = Pipeline(
        product,
        _own_topic(product),
        schema_id=schema_id,
        writers=writers,
        sink=Repartitioned(fold),
    )
    return Paths(pipelines, forwards, fold, product.repartition_topic)


def _time(product: Product, port: Input) -> InputTime | None:
    """What reads an input's event time, where anything depends on it."""
    state = product.state
    assert state is not None
    if port.event_time is None or not (state.is_timed or product.output.event_time is None):
        return None
    return InputTime(port.event_time)


def _own_topic(product: Product) -> Input:
    assert product.state is not None
    arriving, _ = repartitioned_type(product.state)
    passing = Transformation(
        function=_as_it_is, origin="its own topic", record_type=arriving, wants_context=False
    )
    return Input(
        topic=product.repartition_topic,
        format=Format.JSON,
        product=None,
        event_time=None,
        transformation=passing,
    )


def _as_it_is(event: Any) -> Any:
    return event
