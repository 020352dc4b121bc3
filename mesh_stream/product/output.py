"""Fills in what a product leaves out about its output, and checks what it says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mesh_stream.errors import DeclarationError, Fault
from mesh_stream.product.declaration import ProductDeclaration
from mesh_stream.product.governance import Defaults
from mesh_stream.product.product import Contract, Limits, Output
from mesh_stream.product.rule_binding import kind_of
from mesh_stream.product.schema import in_words
from mesh_stream.product.validation import did_you_mean, one_of
from mesh_stream.product.yaml_source import Document

TIMESTAMPS = ("timestamp-millis", "timestamp-micros")
KEYS = ("string", "int", "long", "uuid")
# A batch of one record: its frame, key and headers come on top of the value.
BATCH_OVERHEAD = 64 * 1024


def topic_of(declared: ProductDeclaration, domain: str) -> str:
    """Returns the name of a product's topic: `<domain>.<product>.v<major>`."""
    return f"{domain}.{declared.name}.v{declared.version.split('.')[0]}"


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
    faults += _size_faults(document, declared, settings)
    if faults:
        raise DeclarationError(faults)
    return Output(
        topic=topic_of(declared, domain),
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


def _size_faults(
    document: Document, declared: ProductDeclaration, settings: dict[str, str]
) -> Iterator[Fault]:
    """Makes room on the topic for the largest fact, or says that the declared room is too small."""
    largest = declared.limits.record_bytes or Limits().record_bytes
    room = settings.get("max.message.bytes")
    if room is None:
        if largest > Limits().record_bytes:
            settings["max.message.bytes"] = str(largest + BATCH_OVERHEAD)
    elif not room.isdecimal() or int(room) < largest:
        where = ("data_product", "output", "settings", "max.message.bytes")
        expected = f"at least limits.record_bytes ({largest}), or the broker refuses such facts"
        yield document.fault(where, room, expected)
