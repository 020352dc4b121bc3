"""Fills in what a product leaves out about its inputs, and checks what it says."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec

from mesh_stream.product.declaration import InputDeclaration
from mesh_stream.product.draft import Draft
from mesh_stream.product.output import topic_of
from mesh_stream.product.product import Contract, Format, Input, Transformation
from mesh_stream.product.sla import UnreadableError
from mesh_stream.product.validation import Faults, did_you_mean, one_of


@dataclasses.dataclass(frozen=True, slots=True)
class InputSources:
    """Where the parts of an input come from that stand in other files.

    Attributes:
        upstream: Finds another product by its name; raises `UnreadableError` where there is none.
        reader: Reads the schema file that the input of this position names.
        transformation: Loads what is applied to the input of this position.
        otherwise: What is applied where that is nothing.
    """

    upstream: Callable[[str], Draft]
    reader: Callable[[int, str], Contract]
    transformation: Callable[[int, InputDeclaration], Transformation | None]
    otherwise: Transformation | None = None


def inputs_of(draft: Draft, sources: InputSources) -> tuple[Input, ...]:
    """Returns the input ports, their conventions filled in.

    Raises:
        DeclarationError: With every fault of the inputs.
    """
    assert draft.declared is not None
    assert draft.document is not None
    conventional = InputDeclaration.model_validate({"topic": f"raw.{draft.domain}"})
    faults = Faults()
    seen: set[str] = set()
    inputs: list[Input] = []
    for position, said in enumerate(draft.declared.inputs or (conventional,)):
        port = faults.attempt(partial(_input, draft, position, said, sources))
        if port is None:
            continue
        if port.topic in seen:
            where = ("data_product", "inputs", position)
            fault = draft.document.fault(where, f"{port.topic} again", "each input once")
            faults.found.append(fault)
        seen.add(port.topic)
        inputs.append(port)
    faults.raise_any()
    return tuple(inputs)


def _input(draft: Draft, position: int, said: InputDeclaration, sources: InputSources) -> Input:
    document = draft.document
    assert document is not None
    faults = Faults()

    def refuse(key: str, found: str, expected: str, remedy: str = "") -> None:
        where = ("data_product", "inputs", position, key)
        faults.found.append(document.fault(where, found, expected, remedy))

    applied = faults.attempt(partial(sources.transformation, position, said)) or sources.otherwise
    sound = not faults.found
    if said.product is not None:
        port = faults.attempt(partial(_product_port, said, sources, refuse))
    else:
        port = faults.attempt(partial(_topic_port, draft, position, said, sources, refuse))
    known = _known_fields(draft, port, applied) if port is not None and sound else None
    if port is not None and known is not None:
        for key, name in (("event_time", port.event_time), ("key", port.key)):
            if name is not None and name not in known:
                refuse(key, repr(name), one_of(known), did_you_mean(name, known))
    if port is not None and sound and not faults.found:
        _check_time(draft, port, applied, refuse)
    faults.raise_any()
    assert port is not None
    return dataclasses.replace(port, transformation=applied)


Refuse = Callable[..., None]


def _product_port(said: InputDeclaration, sources: InputSources, refuse: Refuse) -> Input | None:
    assert said.product is not None
    if said.format is Format.JSON:
        refuse("format", "json", "avro: the facts of products are Avro", "leave format out")
    if said.schema_file is not None:
        refuse("schema", "a schema", "none: the other product's contract is read")
    if said.key is not None:
        refuse("key", repr(said.key), "none: the other product's own key is known")
    try:
        other = sources.upstream(said.product)
    except UnreadableError as cause:
        refuse("product", repr(said.product), cause.expected, cause.remedy)
        return None
    assert other.output is not None
    return Input(
        topic=other.output.topic,
        format=Format.AVRO,
        product=said.product,
        event_time=said.event_time or other.output.event_time,
        transformation=None,
        reader=other.contract,
        key=_key_of(other),
    )


def _key_of(other: Draft) -> str | None:
    """Returns the field of a product's facts that their records are keyed by, if it is known."""
    assert other.output is not None
    assert other.declared is not None
    if other.output.key is not None or other.declared.state is None:
        return other.output.key
    key = other.declared.state.key
    return key if other.contract is not None and key in other.contract.fields else None


def _topic_port(
    draft: Draft, position: int, said: InputDeclaration, sources: InputSources, refuse: Refuse
) -> Input:
    assert said.topic is not None
    assert draft.declared is not None
    shape = said.format or Format.JSON
    if said.topic == topic_of(draft.declared, draft.domain):
        refuse("topic", "the product's own output", "another topic")
    if said.topic.startswith("mesh."):
        refuse("topic", repr(said.topic), "a topic that is not the mesh's own")
    contract = None
    if said.schema_file is not None and shape is Format.JSON:
        refuse("schema", "a schema for JSON", "format: avro beside it", "or leave the schema out")
    elif said.schema_file is not None:
        contract = sources.reader(position, said.schema_file)
    return Input(
        topic=said.topic,
        format=shape,
        product=None,
        event_time=said.event_time,
        transformation=None,
        reader=contract,
        key=said.key,
    )


def _known_fields(
    draft: Draft, port: Input, applied: Transformation | None
) -> Iterable[str] | None:
    """Returns the fields that an input's records have; None where they may have any."""
    if port.reader is not None:
        return port.reader.fields
    if applied is not None:
        return _field_names(applied.record_type)
    return None if draft.contract is None else draft.contract.fields


def _check_time(draft: Draft, port: Input, applied: Transformation | None, refuse: Refuse) -> None:
    """Refuses an event time that is not among what is read of a record, where windows need it.

    It would be the record's own timestamp then, and events would be in windows they are not of.
    """
    assert draft.declared is not None
    name = port.event_time
    state = draft.declared.state
    if state is None or (state.window is None and state.ttl is None):
        return
    if applied is None or name is None:
        return
    read = _field_names(applied.record_type)
    if read is not None and name not in read and not hasattr(applied.record_type, name):
        kind = applied.record_type.__name__
        of_product = "" if port.product is None else f" (the event time of {port.product})"
        remedy = f"add {name} to {kind}, or say which field it is: event_time: ..."
        refuse(
            "event_time", f"{name!r}{of_product} and no such field in {kind}", one_of(read), remedy
        )


def _field_names(record_type: Any) -> list[str] | None:
    """Returns the names that a record type's fields have on the wire; None where any may be."""
    if not isinstance(record_type, type) or record_type is dict:
        return None
    if issubclass(record_type, msgspec.Struct):
        return [field.encode_name for field in msgspec.structs.fields(record_type)]
    if hasattr(record_type, "model_fields"):
        return [info.alias or name for name, info in record_type.model_fields.items()]
    if dataclasses.is_dataclass(record_type):
        return [field.name for field in dataclasses.fields(record_type)]
    if typing.is_typeddict(record_type):
        return list(record_type.__annotations__)
    return None
