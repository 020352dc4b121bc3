"""THE PATH: what happens to a record, in order.

    decode     bytes into the type the transformation reads      PayloadError
    transform  the product's own function                        CodeError
    (fold)     where the product remembers: see `fold.py`        ContractError, CodeError
    quality    every rule, as one function                       ContractError
    encode     a fact: framed Avro, key, event time              ContractError

A stage raises; the one `try` below turns what it raised into a value, a `Rejected`, and goes on
with the next record. Two things pass through it: a platform fault, because it says nothing about
the record, and a broken rule whose action is `fail`. No Kafka, no clock, no state. What is most
common is done in fewer steps, by `quick.py`; whatever that leaves comes down here.

A product with state hands what its transformation returns to a sink: the fold, which judges and
encodes what the state has come to, or the way there, which keys the event by the state's key.

One input record is one unit: if any of the facts it would become is wrong, none is published and
the input record is rejected whole, so that mending and replaying it never doubles a fact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from mesh_stream.errors import PlatformError, RecordError
from mesh_stream.pipeline.avro_input import WriterSchemas
from mesh_stream.pipeline.decode import compile_decode
from mesh_stream.pipeline.encode import arrival
from mesh_stream.pipeline.input_time import InputTime
from mesh_stream.pipeline.quick import Quick, compile_quick
from mesh_stream.pipeline.record import Fact, Filtered, Message, Outcome, Rejected
from mesh_stream.pipeline.shard import Shard
from mesh_stream.pipeline.stages import (
    StagesByType,
    count_filtered,
    count_tolerated,
    enforce,
)
from mesh_stream.pipeline.transform import compile_transform
from mesh_stream.product.folding import is_as_it_comes
from mesh_stream.product.product import Input, Product, Rule

_EMPTY = Filtered("no_records")


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


class Sink(Protocol):
    """Where the events of a product with state go. Each counts its input record once."""

    @property
    def stages(self) -> StagesByType | None:
        """Quality and encoding of its facts, where they may be made the quick way; else None."""
        ...

    @property
    def shard(self) -> Shard | None:
        """What the run is remembered in, where there is a quick way."""
        ...

    @property
    def newest(self) -> int:
        """The highest event time of the run's source, in milliseconds; `NEVER` where unknown."""
        ...

    def begin(self, run: Sequence[Message]) -> None:
        """A run of one partition's records is about to come."""
        ...

    def take(self, event: Any, message: Message, outcome: Outcome) -> None:
        """One event; raises `RecordError` where it is wrong, and then nothing has happened."""
        ...

    def take_several(self, events: list[Any], message: Message, outcome: Outcome) -> None:
        """The events of one record: all of them, or none."""
        ...


class Pipeline:
    """The path of one input's records.

    Args:
        product: The product.
        port: The input that the records come from.
        schema_id: The registry's id of the product's contract.
        writers: Finds the schemas of Avro input.
        sink: Where a product with state has its events go.
        time: Notes when the input records happen, for the sink.
    """

    def __init__(
        self,
        product: Product,
        port: Input,
        *,
        schema_id: int,
        writers: WriterSchemas,
        sink: Sink | None = None,
        time: InputTime | None = None,
    ) -> None:
        self._product = product
        self._port = port
        self._schema_id = schema_id
        self._decode = compile_decode(
            port,
            contract=product.contract,
            input_bytes=product.limits.input_bytes,
            writers=writers,
        )
        self._transform = None
        if port.transformation is not None and not is_as_it_comes(port.transformation):
            self._transform = compile_transform(port.transformation, fanout=product.limits.fanout)
        self._stages = StagesByType(product, schema_id)
        self._sink = sink
        self._quick: dict[type, Quick] = {}
        self._tried = 0
        self._seen = self._stages if sink is None else sink.stages
        if sink is None and port.event_time is not None and product.output.event_time is None:
            time = InputTime(port.event_time)
            self._stages.finish = time.stamping
            self._seen = None
        if time is not None:
            self._decode = time.noting(self._decode)

    def process(self, run: Sequence[Message], outcome: Outcome) -> None:
        """Take every record of a run down the path, in order, and add up what became of them.

        Args:
            run: Records of this input, of one partition, in offset order.
            outcome: Receives facts, filtered, rejected and counts.

        Raises:
            Interrupted: A platform fault; the outcome holds the records before it.
            HaltError: A rule with action `fail` is broken; the outcome must not be committed.
        """
        sink = self._sink
        if sink is not None:
            sink.begin(run)
        # One alone would gain nothing.
        quick = self._quick_way() if len(run) > 1 else None
        shard = None if sink is None else sink.shard
        before, done, taken, stretch = outcome.consumed, 0, 0, 1
        try:
            while done < len(run):
                if quick is not None:
                    began = done
                    done, met = quick(run, done, outcome, shard)
                    if met is not None:
                        raise met
                    taken += done - began
                    # The further where there was nothing for it: it must not ask in vain for each.
                    stretch = 1 if done > began else 2 * stretch
                for message in run[done : done + stretch] if quick is not None else run:
                    self._take(message, outcome)
                    done += 1
        except PlatformError as fault:
            raise Interrupted(done, fault) from fault
        finally:
            outcome.consumed = before + done
            self._date(outcome, run[:done])
        # Nothing for it in all of the run: the usual type may be another.
        self._tried += quick is not None and not taken

    def _quick_way(self) -> Quick | None:
        """The quick way for the usual type of record, known once the first fact has been made."""
        if not self._seen:
            return None
        types = list(self._seen)
        record_type = types[self._tried % len(types)]
        if record_type not in self._quick:
            self._quick[record_type] = compile_quick(
                self._product,
                self._port,
                schema_id=self._schema_id,
                record_type=record_type,
                decode=self._decode,
            )
        return self._quick[record_type]

    def _take(self, message: Message, outcome: Outcome) -> None:
        """Take one record down the path; raises a platform fault, and what is to stop all."""
        try:
            record = self._decode(message)
            if self._transform is not None and record.__class__ is not Filtered:
                record = self._transform(record, message)
            if record is None or record.__class__ is Filtered:
                count_filtered(outcome, record)
            elif record.__class__ is list:
                self._take_several(record, message, outcome)
            elif self._sink is not None:
                self._sink.take(record, message, outcome)
            else:
                self._take_several([record], message, outcome)
        except RecordError as error:
            outcome.rejected.append(Rejected(message, error.fault_class, error.rule, error.reason))

    def _date(self, outcome: Outcome, run: Sequence[Message]) -> None:
        """Note how new the run was: once for all of its records, since this is the hot path."""
        if run:
            outcome.arrived = max(outcome.arrived, arrival(run[-1]))
            if self._sink is not None:
                newest = min(self._sink.newest, outcome.arrived)
                outcome.newest_input = max(outcome.newest_input, newest)

    def _take_several(self, records: list[Any], message: Message, outcome: Outcome) -> None:
        if self._sink is not None and records:
            self._sink.take_several(records, message, outcome)
            return
        facts: list[Fact] = []
        tolerated: list[Rule] = []
        for record in records:
            judge, encode = self._stages[record.__class__]
            broken = judge(record)
            if broken is not None:
                enforce(broken, message)
                tolerated += broken
            facts.append(encode(record, message))
        if not facts:
            count_filtered(outcome, _EMPTY)
            return
        outcome.facts += facts
        outcome.sources += 1
        count_tolerated(outcome, tolerated)
