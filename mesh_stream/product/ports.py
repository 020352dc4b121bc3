"""Fills in what a product leaves out about its output and its inputs, and checks what it says."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from mesh_stream.errors import DeclarationError, Fault
from mesh_stream.product.declaration import InputDeclaration, ProductDeclaration
from mesh_stream.product.governance import Defaults
from mesh_stream.product.product import Contract, Format, Input, Output, Transformation
from mesh_stream.product.rule_binding import kind_of
from mesh_stream.product.schema import in_words
from mesh_stream.product.validation import did_you_mean, one_of
from mesh_stream.product.yaml_source import Document

TIMESTAMPS = ("timestamp-millis", "timestamp-micros")
KEYS = ("string", "int", "long", "uuid")


@dataclass(frozen=True, slots=True)
class Draft:
    """A product whose declaration and schema are read: what others need to know of it.

    Attributes:
        folder: Its folder, as the user named it.
        document: Its `data_product.yaml`.
        declared: What that says.
        domain: Its domain.
        contract: Its contract.
        output: Its output port.
    """

    folder: Path
    document: Document
    declared: ProductDeclaration
    domain: str
    contract: Contract
    output: Output


def output_of(
    document: Document,
    declared: ProductDeclaration,
    *,
    domain: str,
    contract: Contract,
    defaults: Defaults,
) -> Output:
    """Returns the output port, its conventions filled in.

    Raises:
        DeclarationError: Key, event time or settings do not fit the contract or each other.
    """
    said, where = declared.output, ("data_product", "output")
    faults: list[Fault] = []
    if said.key is not None:
        faults += _key_faults(document, said.key, contract)
    event_time = said.event_time
    stamps = [name for name, schema in contract.fields.items() if kind_of(schema)[0] in TIMESTAMPS]
    sure = [name for name in stamps if not kind_of(contract.fields[name])[1]]
    if event_time is not None:
        faults += _event_time_faults(document, event_time, contract, sure)
    elif len(sure) > 1:
        found = f"several timestamps ({', '.join(sure)}) and no event_time"
        remedy = "name the one that freshness is measured from: output: {event_time: ...}"
        faults.append(document.fault(where, found, one_of(sure), remedy))
    elif sure:
        event_time = sure[0]
    settings = {**defaults.settings, **said.settings}
    retention = said.retention if said.retention is not None else defaults.retention
    if said.retention is not None and "retention.ms" in said.settings:
        found = "retention, and retention.ms again"
        faults.append(document.fault((*where, "settings"), found, "one of the two"))
    elif retention is not None and "retention.ms" not in said.settings:
        settings["retention.ms"] = "-1" if retention < 0 else str(int(retention * 1000))
    if faults:
        raise DeclarationError(faults)
    return Output(
        topic=f"{domain}.{declared.name}.v{declared.version.split('.')[0]}",
        key=said.key,
        event_time=event_time,
        partitions=said.partitions if said.partitions is not None else defaults.partitions,
        settings=settings,
    )


def _key_faults(document: Document, key: str, contract: Contract) -> Iterator[Fault]:
    where = ("data_product", "output", "key")
    if key not in contract.fields:
        remedy = did_you_mean(key, contract.fields)
        yield document.fault(where, repr(key), one_of(contract.fields), remedy)
        return
    kind, nullable = kind_of(contract.fields[key])
    if kind not in KEYS or nullable:
        found = f"{key}, which is {in_words(contract.fields[key])}"
        expected = f"a field of type {', '.join(KEYS)}, and never null"
        yield document.fault(where, found, expected, "equal keys must be equal bytes")


def _event_time_faults(
    document: Document, name: str, contract: Contract, sure: Iterable[str]
) -> Iterator[Fault]:
    where = ("data_product", "output", "event_time")
    if name not in contract.fields:
        remedy = did_you_mean(name, contract.fields)
        yield document.fault(where, repr(name), one_of(contract.fields), remedy)
    elif name not in sure:
        found = f"{name}, which is {in_words(contract.fields[name])}"
        expected = "a timestamp that is never null: freshness is measured from it"
        yield document.fault(where, found, expected)


def inputs_of(
    draft: Draft,
    *,
    upstream: Callable[[str], Draft | None],
    reader: Callable[[int, str], Contract],
    transformation: Callable[[int, InputDeclaration], Transformation | None],
) -> tuple[Input, ...]:
    """Returns the input ports, their conventions filled in.

    Args:
        draft: The product.
        upstream: Finds another product by its name; None where there is none, or it is faulty.
        reader: Reads the schema file of an input, by the input's position.
        transformation: Loads what is applied to an input, by its position.

    Raises:
        DeclarationError: With every fault of the inputs.
    """
    declared = draft.declared.inputs or (_conventional(draft.domain),)
    faults: list[Fault] = []
    inputs: list[Input] = []
    for position, said in enumerate(declared):
        try:
            inputs.append(_input(draft, position, said, upstream, reader, transformation))
        except DeclarationError as cause:
            faults += cause.faults
    seen: set[str] = set()
    for position, port in enumerate(inputs):
        if port.topic in seen:
            where = ("data_product", "inputs", position)
            faults.append(draft.document.fault(where, f"{port.topic} again", "each input once"))
        seen.add(port.topic)
    if faults:
        raise DeclarationError(faults)
    return tuple(inputs)


def _conventional(domain: str) -> InputDeclaration:
    return InputDeclaration.model_validate({"topic": f"raw.{domain}"})


def _input(
    draft: Draft,
    position: int,
    said: InputDeclaration,
    upstream: Callable[[str], Draft | None],
    reader: Callable[[int, str], Contract],
    transformation: Callable[[int, InputDeclaration], Transformation | None],
) -> Input:
    where = ("data_product", "inputs", position)

    def refuse(key: str, found: str, expected: str, remedy: str = "") -> DeclarationError:
        return DeclarationError([draft.document.fault((*where, key), found, expected, remedy)])

    applied = transformation(position, said)
    if said.product is not None:
        if said.format is Format.JSON:
            raise refuse("format", "json", "avro: facts of products are Avro", "leave it out")
        if said.schema_file is not None:
            raise refuse("schema", "a schema", "none: the other product's contract is read")
        other = upstream(said.product)
        if other is None:
            raise refuse("product", repr(said.product), "a product of this mesh that is sound")
        event_time = said.event_time or other.output.event_time
        port = Input(
            topic=other.output.topic,
            format=Format.AVRO,
            product=said.product,
            event_time=event_time,
            transformation=applied,
            reader=other.contract,
        )
        known: Iterable[str] | None = other.contract.fields
    else:
        assert said.topic is not None
        topic, shape = said.topic, said.format or Format.JSON
        if topic == draft.output.topic:
            raise refuse("topic", "the product's own output", "another topic")
        if topic.startswith("mesh."):
            raise refuse("topic", repr(topic), "a topic that is not the mesh's own")
        if said.schema_file is not None and shape is Format.JSON:
            raise refuse("schema", "a schema for JSON", "format: avro", "or leave the schema out")
        contract = None if said.schema_file is None else reader(position, said.schema_file)
        port = Input(
            topic=topic,
            format=shape,
            product=None,
            event_time=said.event_time,
            transformation=applied,
            reader=contract,
        )
        known = _field_names(draft.contract if applied is None else applied.record_type)
    if port.event_time is not None and known is not None and port.event_time not in known:
        remedy = did_you_mean(port.event_time, known)
        raise refuse("event_time", repr(port.event_time), one_of(known), remedy)
    return port


def _field_names(record_type: Any) -> list[str] | None:
    """Returns the names that a record type's fields have on the wire; None where any may be."""
    if isinstance(record_type, Contract):
        return list(record_type.fields)
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
