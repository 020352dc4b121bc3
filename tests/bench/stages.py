"""Where the worker's microseconds go: each stage alone, over the same records held in memory.

A profiler would slow the cheap stages most; so each stage runs in a loop over whole batches, as in
the worker, and the best of several passes counts, in processor time. Poll, produce and commit need
a broker: what the stages leave of the worker's time per record is theirs, and the machine's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Message
from prometheus_client import CollectorRegistry

from mesh_stream.freshness.metrics import ProductMetrics
from mesh_stream.pipeline.avro_input import SchemaId
from mesh_stream.pipeline.decode import compile_decode
from mesh_stream.pipeline.encode import compile_encode
from mesh_stream.pipeline.pipeline import Pipeline
from mesh_stream.pipeline.quality import compile_rules
from mesh_stream.pipeline.record import Filtered, Outcome
from mesh_stream.pipeline.shape import Shape
from mesh_stream.pipeline.transform import compile_transform
from mesh_stream.product.loader import load_mesh
from mesh_stream.product.product import Product
from mesh_stream.runtime.heart import BEAT_SECONDS, Heart
from mesh_stream.runtime.pace import MAX_BATCH
from mesh_stream.runtime.partitions import Partitions
from mesh_stream.runtime.report import Committed
from mesh_stream.runtime.status import encode, key_of
from tests.bench.orders import PRODUCT, TOPIC, Orders

PASSES = 9
STRETCH = 500
"""Records of one partition that come one after the other."""
ARRIVED = 1_772_323_210_000
"""When the first record arrived, soon after it happened; milliseconds since the epoch."""
LATER = ARRIVED + 60_000
"""When all of them were committed."""
BUSY_RATE = 100_000
"""Records a second that a busy worker takes at the least: beats come by time, not by record."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a stage costs, in microseconds of processor time per input record."""

    name: str
    micros: float


class _NoWriters:
    """The input is JSON: nobody asks."""

    def writer_schema(self, schema_id: SchemaId) -> Any | None:
        raise NotImplementedError


def measure(products: Path, records: int = 20_000) -> list[Stage]:
    """Every stage of the worker that needs no broker; together they are its work on a record."""
    product = load_mesh(products).products[PRODUCT]
    batches = _batches(records)
    path = _path(product, batches)
    alone = _stages_of_the_path(product, batches)
    between = path - sum(stage.micros for stage in alone)
    return [
        *_sorting(product, batches),
        *alone,
        Stage("the path around them", between),
        *_telling(product, batches),
    ]


def observing(products: Path, records: int = 20_000) -> list[Stage]:
    """What it costs of each record that the worker is seen: its witnesses, and what they need."""
    product = load_mesh(products).products[PRODUCT]
    batches = _batches(records)
    heart = Heart(product, slot=0, metrics="127.0.0.1:9400", config={})
    return [
        _arriving(product, batches),
        *_telling(product, batches),
        *_saying(product, batches, heart),
    ]


def _arriving(product: Product, batches: list[list[Message]]) -> Stage:
    """Ask each record that becomes a fact when it arrived, as the encoder does."""
    pipeline = _pipeline(product)
    facts = [len(_outcome(pipeline, batch).facts) for batch in batches]
    asked = [batch[:count] for batch, count in zip(batches, facts, strict=True)]

    def ask() -> None:
        for messages in asked:
            for message in messages:
                kind, arrived = message.timestamp()
                if not kind:
                    arrived = -1  # noqa: F841 - as the generated code

    def turn() -> None:
        for messages in asked:
            for _ in messages:
                pass

    return Stage("when it arrived", _micros(ask, batches) - _micros(turn, batches))


def _saying(product: Product, batches: list[list[Message]], heart: Heart) -> list[Stage]:
    """What goes into the status, and its beats, of which there is one for so many records."""
    pipeline = _pipeline(product)
    reports = []
    for batch in batches:
        report = Committed(positions={(TOPIC, number): 1 for number in range(4)})
        report.add(TOPIC, _outcome(pipeline, batch))
        reports.append(report)
    for number in range(4):
        heart.taken(TOPIC, number, 0)

    def note() -> None:
        for report in reports:
            heart.committed(report)

    def beat() -> None:
        for _ in batches:
            status = heart.status()
            key_of(status)
            encode(status)

    beats = _micros(beat, batches) * sum(map(len, batches)) / len(batches)
    return [
        Stage("what the status says", _micros(note, batches)),
        Stage("its beats", beats / (BEAT_SECONDS * BUSY_RATE)),
    ]


def _batches(records: int) -> list[list[Message]]:
    """Records as the client hands them over, in batches of the worker's size."""
    messages = [
        Message(
            topic=TOPIC,
            partition=number // STRETCH % 4,
            offset=number,
            key=key,
            value=value,
            timestamp=(1, ARRIVED + number // 10),
        )
        for number, (key, value) in enumerate(Orders(seed=7).make(records))
    ]
    return [messages[at : at + MAX_BATCH] for at in range(0, records, MAX_BATCH)]


def _pipeline(product: Product) -> Pipeline:
    return Pipeline(product, product.inputs[0], schema_id=1, writers=_NoWriters())


def _outcome(pipeline: Pipeline, batch: list[Message]) -> Outcome:
    outcome = Outcome()
    pipeline.process(batch, outcome)
    return outcome


def _path(product: Product, batches: list[list[Message]]) -> float:
    pipeline = _pipeline(product)

    def process() -> None:
        for batch in batches:
            _outcome(pipeline, batch)

    return _micros(process, batches)


def _stages_of_the_path(product: Product, batches: list[list[Message]]) -> list[Stage]:
    port, contract, limits = product.inputs[0], product.contract, product.limits
    messages = [message for batch in batches for message in batch]
    decode = compile_decode(
        port, contract=contract, input_bytes=limits.input_bytes, writers=_NoWriters()
    )
    orders = [(decode(message), message) for message in messages]
    assert port.transformation is not None
    transform = compile_transform(port.transformation, fanout=limits.fanout)
    results = [(transform(order, message), message) for order, message in orders]
    completed = [pair for pair in results if not isinstance(pair[0], Filtered)]
    shape = Shape(type(completed[0][0]))
    judge = compile_rules(product.rules, contract=contract, shape=shape)
    kept = [pair for pair in completed if judge(pair[0]) is None]
    encode_fact = compile_encode(
        contract,
        output=product.output,
        schema_id=1,
        record_bytes=limits.record_bytes,
        shape=shape,
    )

    def decode_all() -> None:
        for message in messages:
            decode(message)

    def transform_all() -> None:
        for order, message in orders:
            transform(order, message)

    def judge_all() -> None:
        for record, _ in completed:
            judge(record)

    def encode_all() -> None:
        for record, message in kept:
            encode_fact(record, message)

    return [
        Stage("decode", _micros(decode_all, batches)),
        Stage("transform", _micros(transform_all, batches)),
        Stage("quality", _micros(judge_all, batches)),
        Stage("encode", _micros(encode_all, batches)),
    ]


def _sorting(product: Product, batches: list[list[Message]]) -> list[Stage]:
    consumer = Consumer({"bootstrap.servers": "", "group.id": "bench.stages"})

    def sort() -> None:
        partitions = Partitions(product.name, consumer, stopping=lambda: False)
        partitions.positions.update({(TOPIC, number): 0 for number in range(4)})
        for batch in batches:
            partitions.accept(batch)

    stage = Stage("sort by partition", _micros(sort, batches))
    consumer.close()
    return [stage]


def _telling(product: Product, batches: list[list[Message]]) -> list[Stage]:
    pipeline = _pipeline(product)
    outcomes = [_outcome(pipeline, batch) for batch in batches]
    metrics = ProductMetrics(product, CollectorRegistry())

    def tell() -> None:
        for outcome in outcomes:
            report = Committed()
            report.add(TOPIC, outcome)
            report.conclude(at=LATER, took=0.1)
            metrics.committed(report)

    return [Stage("books and metrics", _micros(tell, batches))]


def _micros(work: Callable[[], None], batches: list[list[Message]]) -> float:
    best = float("inf")
    for _ in range(PASSES):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best / sum(map(len, batches)) * 1e6
