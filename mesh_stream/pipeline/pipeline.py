"""THE PATH: what happens to a record, in order.

    decode     bytes into the type the transformation reads      PayloadError
    transform  the product's own function                        CodeError
    quality    every rule, as one function                       ContractError
    encode     a fact: framed Avro, key, event time              ContractError

A stage raises; the one `try` below turns what it raised into a value, a `Rejected`, and goes on
with the next record. Two things pass through it: a platform fault, because it says nothing about
the record, and a broken rule whose action is `fail`. No Kafka, no clock, no state.

One input record is one unit: if any of the facts it would become is wrong, none is published and
the input record is rejected whole, so that mending and replaying it never doubles a fact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mesh_stream.errors import ContractError, HaltError, PlatformError, RecordError
from mesh_stream.pipeline.avro_input import WriterSchemas
from mesh_stream.pipeline.decode import compile_decode
from mesh_stream.pipeline.encode import Encode, compile_encode
from mesh_stream.pipeline.input_time import InputTime
from mesh_stream.pipeline.quality import Judge, compile_rules
from mesh_stream.pipeline.record import Fact, Filtered, Message, Outcome, Rejected, where
from mesh_stream.pipeline.shape import Shape
from mesh_stream.pipeline.transform import compile_transform
from mesh_stream.product.product import Action, Input, Product, Rule

_UNDECIDED = Filtered("unspecified")
_EMPTY = Filtered("no_records")

# Reasons become label values of a metric, so that their number is bounded whatever a product does.
MAX_REASONS = 50


class Interrupted(Exception):  # noqa: N818 - not a failure: where to go on, and why not now
    """A platform fault stopped a run before its end.

    Attributes:
        done: Records of the run that are in the outcome; the next one is where to go on.
        cause: The platform fault.
    """

    def __init__(self, done: int, cause: PlatformError) -> None:
        super().__init__(str(cause))
        self.done = done
        self.cause = cause


class Pipeline:
    """The path of one input's records.

    Args:
        product: The product.
        port: The input that the records come from.
        schema_id: The registry's id of the product's contract.
        writers: Finds the schemas of Avro input.
    """

    def __init__(
        self, product: Product, port: Input, *, schema_id: int, writers: WriterSchemas
    ) -> None:
        self._product = product
        self._decode = compile_decode(
            port,
            contract=product.contract,
            input_bytes=product.limits.input_bytes,
            writers=writers,
        )
        self._transform = compile_transform(port.transformation, fanout=product.limits.fanout)
        self._stages = _StagesByType(product, schema_id)
        if port.event_time is not None and product.output.event_time is None:
            time = InputTime(port.event_time)
            self._decode = time.noting(self._decode)
            self._stages.finish = time.stamping

    def process(self, run: Sequence[Message], outcome: Outcome) -> None:
        """Take every record of a run down the path, in order, and add up what became of them.

        Args:
            run: Records of this input, of one partition, in offset order.
            outcome: Receives facts, filtered, rejected and counts.

        Raises:
            Interrupted: A platform fault; the outcome holds the records before it.
            HaltError: A rule with action `fail` is broken; the outcome must not be committed.
        """
        decode, transform, stages = self._decode, self._transform, self._stages
        publish = outcome.facts.append
        before = outcome.consumed
        for done, message in enumerate(run):
            try:
                record = decode(message)
                if record.__class__ is not Filtered:
                    record = transform(record, message)
                if record is None or record.__class__ is Filtered:
                    _count_filtered(outcome, record)
                elif record.__class__ is list:
                    self._process_several(record, message, outcome)
                else:
                    judge, encode = stages[record.__class__]
                    broken = judge(record)
                    if broken is not None:
                        _enforce(broken, message)
                    publish(encode(record, message))
                    outcome.sources += 1
                    if broken is not None:
                        _count_tolerated(outcome, broken)
            except RecordError as error:
                outcome.rejected.append(
                    Rejected(message, error.fault_class, error.rule, error.reason)
                )
            except PlatformError as fault:
                outcome.consumed = before + done
                raise Interrupted(done, fault) from fault
        outcome.consumed = before + len(run)

    def _process_several(self, records: list[Any], message: Message, outcome: Outcome) -> None:
        facts: list[Fact] = []
        tolerated: list[Rule] = []
        for record in records:
            judge, encode = self._stages[record.__class__]
            broken = judge(record)
            if broken is not None:
                _enforce(broken, message)
                tolerated += broken
            facts.append(encode(record, message))
        if not facts:
            _count_filtered(outcome, _EMPTY)
            return
        outcome.facts += facts
        outcome.sources += 1
        _count_tolerated(outcome, tolerated)


class _StagesByType(dict[type, tuple[Judge, Encode]]):
    """The last two stages for each type of record, compiled on first sight of the type.

    Attributes:
        finish: What is made of the last one.
    """

    def __init__(self, product: Product, schema_id: int) -> None:
        super().__init__()
        self._product = product
        self._schema_id = schema_id
        self.finish: Callable[[Encode], Encode] = lambda encode: encode

    def __missing__(self, record_type: type) -> tuple[Judge, Encode]:
        product = self._product
        shape = Shape(record_type)
        judge = compile_rules(product.rules, contract=product.contract, shape=shape)
        encode = compile_encode(
            product.contract,
            output=product.output,
            schema_id=self._schema_id,
            record_bytes=product.limits.record_bytes,
            shape=shape,
        )
        stages = (judge, self.finish(encode))
        self[record_type] = stages
        return stages


def _count_filtered(outcome: Outcome, record: Filtered | None) -> None:
    reason = (record or _UNDECIDED).reason
    if len(outcome.filtered) >= MAX_REASONS and reason not in outcome.filtered:
        reason = "other"
    outcome.filtered[reason] += 1


def _count_tolerated(outcome: Outcome, broken: Sequence[Rule]) -> None:
    for rule in broken:
        outcome.tolerated[rule.name, rule.action.value] += 1


def _enforce(broken: Sequence[Rule], message: Message) -> None:
    """Do what the broken rules' actions say; returns where the fact is published all the same."""
    for rule in broken:
        if rule.action is Action.FAIL:
            raise HaltError(
                f"{where(message)} breaks the rule {rule.name}, whose action is `fail`; "
                f"mend the record's source or the rule, then start the product again",
                rule=rule.name,
            )
    enforced = [rule for rule in broken if rule.action is Action.DLQ]
    if enforced:
        names = ", ".join(rule.name for rule in enforced)
        raise ContractError(f"breaks the quality rule {names}", rule=enforced[0].name)
