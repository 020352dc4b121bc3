"""Reads hostile Avro in a process of its own, so that a crash is a test's result and not its end.

    python -m tests.pipeline.hostile_avro known
    python -m tests.pipeline.hostile_avro fuzz SEED

Prints one JSON document: how each message ended, and by how many bytes the process grew.
"""

from __future__ import annotations

import json
import random
import resource
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any
from uuid import UUID

import fastavro

from mesh_stream.errors import PayloadError
from mesh_stream.pipeline.avro_input import AvroReader
from mesh_stream.testing import MemorySchemas
from tests.pipeline.making import CURRENCY, DATE, MILLIS, NESTED, UUID_TEXT, decimal, message

NODE = {
    "type": "record",
    "name": "Node",
    "fields": [{"name": "next", "type": ["null", "Node"]}],
}
NULLS = {"type": "array", "items": "null"}
EMPTIES = {"type": "array", "items": {"type": "record", "name": "Empty", "fields": []}}
DOUBLING: Any = {
    "type": "record",
    "name": "Top",
    "fields": [
        {
            "name": f"r{n}",
            "type": {
                "type": "record",
                "name": f"R{n}",
                "fields": [
                    {"name": side, "type": f"R{n - 1}" if n else "null"} for side in ("a", "b")
                ],
            },
        }
        for n in range(40)
    ],
}
MONEY = {"type": "record", "name": "Money", "fields": [{"name": "amount", "type": decimal(18, 2)}]}
EVERYTHING = {
    "type": "record",
    "name": "Everything",
    "fields": [
        *NESTED.schema["fields"],
        {"name": "amount", "type": decimal(18, 2)},
        {"name": "at", "type": MILLIS},
        {"name": "day", "type": DATE},
        {"name": "uuid", "type": UUID_TEXT},
        {"name": "currency", "type": ["null", CURRENCY]},
        {"name": "sure", "type": "boolean"},
        {"name": "share", "type": "double"},
        {"name": "matrix", "type": {"type": "array", "items": {"type": "array", "items": "long"}}},
        {"name": "raw", "type": {"type": "map", "values": "bytes"}},
    ],
}
DATUM = {
    "id": "o1",
    "lines": [{"sku": "a", "price": Decimal("1.50"), "due": None}] * 3,
    "more": {"x": None, "y": {"sku": "b", "price": Decimal(-1), "due": datetime.now(UTC)}},
    "tags": ["t", 7],
    "hash": b"12",
    "other": b"34",
    "amount": Decimal("-128.00"),
    "at": datetime(2026, 1, 1, tzinfo=UTC),
    "day": datetime(2026, 1, 1, tzinfo=UTC).date(),
    "uuid": UUID(int=7),
    "currency": "EUR",
    "sure": True,
    "share": 0.5,
    "matrix": [[1, 2], [], [3]],
    "raw": {"k": b"v" * 20},
}


def varint(number: int) -> bytes:
    """Zig-zag, as the specification has it; written out here to trust nothing under test."""
    rest, out = (number << 1) ^ (number >> 63), b""
    while rest > 0x7F:
        out += bytes((rest & 0x7F | 0x80,))
        rest >>= 7
    return out + bytes((rest,))


KNOWN: dict[str, tuple[Any, bytes]] = {
    "5 KB on a recursive schema": (NODE, b"\x02" * 5_000 + b"\x00"),
    "7 bytes on an array of nulls": (NULLS, varint(2**40) + b"\x00"),
    "5 bytes on an array of nulls": (NULLS, varint(2 * 10**7) + b"\x00"),
    "an array of empty records": (EMPTIES, varint(2**40) + b"\x00"),
    "a negative block count": (NULLS, varint(-(2**40)) + varint(1) + b"\x00"),
    "types that double each other": (DOUBLING, b"\x00"),
    "a megabyte that calls itself a decimal": (MONEY, varint(10**6) + b"\x7f" * 10**6),
    "an array that announces 2^40 numbers": (
        {"type": "array", "items": "long"},
        varint(2**40) + b"\x02" * 100,
    ),
    "a text that announces 2^40 bytes": ("string", varint(2**40) + b"x"),
    "a text of less than no bytes": ("string", varint(-5) + b"x" * 10),
    "an endless varint": ("long", b"\xff" * 1_000),
    "a union branch that is not there": (["null", "long"], varint(7)),
    "an enum symbol that is not there": (CURRENCY, varint(9)),
    "a date past all calendars": (DATE, varint(2**31 - 1)),
    "a moment past all calendars": (MILLIS, varint(2**62)),
    "a text that is no UTF-8": ("string", varint(2) + b"\xff\xfe"),
    "a text that is no UUID": (UUID_TEXT, varint(3) + b"abc"),
    "nothing at all": ("string", b""),
}


def known() -> Iterator[tuple[str, Any, bytes]]:
    for name, (schema, body) in KNOWN.items():
        yield name, schema, body


def fuzzed(seed: int) -> Iterator[tuple[str, Any, bytes]]:
    """A good message, torn in every way that a disk or a network does."""
    chance = random.Random(seed)
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(EVERYTHING, _force=True), DATUM)
    whole = stream.getvalue()
    for number in range(8_000):
        body = bytearray(whole)
        match number % 4:
            case 0:
                del body[chance.randrange(len(body)) :]
            case 1:
                for _ in range(chance.choice((1, 1, 2, 8))):
                    body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
            case 2:
                at = chance.randrange(len(body))
                body[at : at + chance.randrange(12)] = chance.randbytes(chance.randrange(12))
            case _:
                body = bytearray(chance.randbytes(chance.randrange(200)))
        yield "fuzz", EVERYTHING, bytes(body)


def main() -> None:
    """Read them all, each by its own schema and as `EVERYTHING` where that can be."""
    messages = fuzzed(int(sys.argv[2])) if sys.argv[1] == "fuzz" else known()
    schemas = MemorySchemas()
    reader = AvroReader(schemas, reader=None)
    ids: dict[str, Any] = {}
    ends: dict[str, Counter[str]] = {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, schema, body in messages:
        text = json.dumps(schema)
        if text not in ids:
            ids[text] = schemas.register(schema)
        value = b"\x00" + struct.pack(">I", ids[text]) + body
        try:
            reader.read(value, message(value))
            end = "read"
        except PayloadError as error:
            end = error.rule
        except Exception as error:  # noqa: BLE001 - what it is, the test says
            end = repr(error)
        ends.setdefault(name, Counter())[end] += 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    json.dump({"ends": ends, "grown_bytes": grown * 1024}, sys.stdout)


if __name__ == "__main__":
    main()
