"""The path when all goes well: one generated function over a whole run of records.

It does what `pipeline.py` and `fold.py` say, without the calls between the stages and without a
word of what may go wrong. At a record that is anything but common (wrong, late, of another type,
several facts, a warning) it stops before it has changed anything, and the ordinary way takes that
record from its bytes on. So nothing is decided here, and no fault is named; the product's functions
may be called twice for such a record, which is nothing to pure ones. Tests hold the two ways
against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mesh_stream.errors import PlatformError
from mesh_stream.pipeline.decode import Decode, json_reader
from mesh_stream.pipeline.encode import ARRIVED, fact_source
from mesh_stream.pipeline.entries import STATE
from mesh_stream.pipeline.events import event_reader, key_from_text, key_reader, passing_class
from mesh_stream.pipeline.quality import rules_source
from mesh_stream.pipeline.record import Filtered, Message, Outcome
from mesh_stream.pipeline.shape import Shape
from mesh_stream.pipeline.shard import Shard
from mesh_stream.pipeline.stages import count_filtered
from mesh_stream.pipeline.state_layout import codec_of
from mesh_stream.pipeline.transform import source_context
from mesh_stream.product.folding import is_as_it_comes
from mesh_stream.product.product import Input, Product, State, Transformation

Quick = Callable[[Sequence[Message], int, Outcome, Shard | None], tuple[int, PlatformError | None]]
"""(run, where to begin, outcome, the fold's shard) -> (the first record that it did not take, or
the length of the run; the platform fault that it met there). Facts without a fold, and counts, go
to the outcome; all else to the shard."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the function.

    Attributes:
        lines: Statements. `break` leaves the record to the ordinary way; so does an exception.
        names: What they refer to.
    """

    lines: Sequence[str]
    names: dict[str, Any]


def compile_quick(
    product: Product, port: Input, *, schema_id: int, record_type: type, decode: Decode
) -> Quick:
    """Make the quick way of one input.

    Args:
        product: The product; if it remembers, then one state a key for ever, and its facts say when
            they happened.
        port: The input, keyed by the state's key if there is one.
        schema_id: The registry's id of the contract.
        record_type: The type of the records that become facts; others go the ordinary way.
        decode: The first stage, for input that is no JSON.
    """
    state = product.state
    parts = [_decoding(product, port, decode)]
    if port.transformation is not None and not is_as_it_comes(port.transformation):
        parts.append(_transforming(port.transformation))
    if state is not None:
        parts.append(_folding(state))
    parts.append(_judging(product, schema_id, record_type))
    publish = "publish(fact)" if state is None else "changes[s] = young[s] = v; facts[s] = fact"
    source = "\n".join(
        [
            "def quick(run, at, outcome, shard):",
            " done, left_out, fault = at, 0, None",
            " publish = outcome.facts.append",
            *((f" {line}" for line in _MEMORY) if state is not None else ()),
            " try:",
            "  for m in run[at:] if at else run:",
            *(f"   {line}" for part in parts for line in part.lines),
            f"   {publish}",
            "   done += 1",
            # Nothing that the ordinary way could say more of, and perhaps it took long.
            " except _PlatformError as error:",
            "  fault = error",
            " except Exception:",
            "  pass",
            " outcome.sources += done - at - left_out",
            " return done, fault",
        ]
    )
    names: dict[str, Any] = {
        "_filtered": Filtered,
        "_count_filtered": count_filtered,
        "_PlatformError": PlatformError,
    }
    for part in parts:
        names |= part.names
    # Built from field names (Avro identifiers) and constants passed by reference.
    exec(compile(source, f"<quick: {product.name}>", "exec"), names)  # noqa: S102
    quick: Quick = names["quick"]
    return quick


_MEMORY = [
    "young, changes, facts = shard.cache.young, shard.changes, shard.facts",
    "held = shard.held",
]
_LEFT_OUT = [
    "if r is None or r.__class__ is _filtered:",
    " _count_filtered(outcome, r)",
    " left_out += 1; done += 1",
    " continue",
]


def _decoding(product: Product, port: Input, decode: Decode) -> _Part:
    """From the message `m` to the record `r`; a tombstone goes the ordinary way."""
    read = json_reader(port, product.contract)
    if read is None:
        return _Part(["r = _decode(m)", "if r.__class__ is _filtered: break"], {"_decode": decode})
    lines = ["b = m.value()", f"if len(b) > {product.limits.input_bytes}: break", "r = _read(b)"]
    return _Part(lines, {"_read": read})


def _transforming(transformation: Transformation) -> _Part:
    """From the record `r` to what the product's function makes of it."""
    call = "_transform(r, _context(m))" if transformation.wants_context else "_transform(r)"
    names = {"_transform": transformation.function, "_context": source_context}
    return _Part([f"r = {call}", *_LEFT_OUT], names)


def _folding(state: State) -> _Part:
    """From the event `r` to its state, as the bytes `v` and as the record `r` that they say."""
    codec, passing = codec_of(state), passing_class(state)
    names: dict[str, Any] = {
        "_event": passing,
        "_event_of": event_reader(state),
        "_state": STATE,
        "_fold": state.fold.call,
        "_load": codec.decode,
        "_save": codec.encode,
        "_name": key_from_text(state),
        "_key": key_reader(state),
    }
    lines = [
        "if r.__class__ is not _event:",
        " if r.__class__ is not dict: break",
        " r = _event_of(r)",
        "k = m.key()",
    ]
    if state.key is not None and state.key_type is str:
        name = "x"
        lines += [
            f"x = {Shape(state.event_type).value(state.key)}",
            "if x.__class__ is not str or x.encode() != k: break",
        ]
    else:
        name = "_name(k)"
        lines += ["if _key(r) != k: break"]
    lines += [
        "s = _state + k",
        "h = young.get(s)",
        "if h is None: h = held(s)",
        "b = None if h is None else _load(h)",
        "n = _fold(b, r)",
        "if n is None: break",
        "v = _save(n)",
        # As it was, or changed in place.
        f"if n is b{' and v == h' if codec.mutable else ''}:",
        " done += 1",
        " continue",
        "r = _load(v)",
    ]
    if state.fact is not None:
        names["_make"] = state.fact.call
        lines += [f"r = _make({name}, None, r)"]
    return _Part(lines, names)


def _judging(product: Product, schema_id: int, record_type: type) -> _Part:
    """From the record `r` to its `fact`, if it keeps every rule."""
    shape, of_fold = Shape(record_type), product.state is not None
    rules = rules_source(product.rules, contract=product.contract, shape=shape)
    made = fact_source(
        product.contract, output=product.output, schema_id=schema_id, shape=shape, of_fold=of_fold
    )
    lines: Iterable[str] = [
        "if r.__class__ is not _record: break",
        *rules.lines,
        f"if not ({rules.holds}): break",
        *made.lines,
        f"value = {made.value}",
        f"if len(value) > {product.limits.record_bytes}: break",
        *ARRIVED,
        f"fact = {made.fact}",
    ]
    return _Part([*lines], {**rules.names, **made.names, "_record": record_type})
