"""Odd records: each has a fate that is said beforehand, and none costs a byte or the worker."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
import pytest
from confluent_kafka import Producer

from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness.reader import Read
from tests.kafka.harness.scene import Scene, scene

pytestmark = pytest.mark.kafka

Header = tuple[str, bytes | None]
Headers = list[Header]

FACT, TOMBSTONE = "fact", "tombstone"
NOT_UTF_8 = b"\xff\xfe\x00"
DOUBLED: Headers = [("h", b"1"), ("H", b"2"), ("h", b"\xff"), ("h", b"1"), ("", b""), ("n", None)]
MANY: Headers = [(f"h{number % 900}", str(number).encode()) for number in range(1_000)]
FORGED: Headers = [("__dlq.errors.topic", b"elsewhere"), ("h", b"kept"), ("mesh.dlq.rule", b"x")]

# Tells in the fact what a transformation sees of the record around the value.
SEES = """
import json

import msgspec


class Event(msgspec.Struct):
    n: int


def see(event: Event, source):
    key = None if source.key is None else source.key.hex()
    headers = [[name, None if value is None else value.hex()] for name, value in source.headers]
    seen = json.dumps([key, headers])
    return {"n": event.n, "key": "", "seq": source.offset, "padding": seen}
"""


class Odd(NamedTuple):
    """A record, and what has to become of it: `FACT`, `TOMBSTONE` or a rule that rejects it."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    fate: str


def good(n: int) -> bytes:
    return json.dumps({"n": n}).encode()


ODD = [
    # A null value deletes a key and states no fact, whatever is around it.
    Odd(b"k", None, [], TOMBSTONE),
    Odd(None, None, MANY, TOMBSTONE),
    Odd(NOT_UTF_8, None, DOUBLED, TOMBSTONE),
    # An empty value is none.
    Odd(b"k", b"", DOUBLED, "empty"),
    Odd(None, b"", [], "empty"),
    # A key is bytes, and may be none at all.
    Odd(None, good(1), [], FACT),
    Odd(b"", good(2), [], FACT),
    Odd(NOT_UTF_8, good(3), [], FACT),
    Odd(None, b"{", [], "malformed"),
    Odd(b"", b'{"n": "one"}', [("h", None)], "type"),
    Odd(NOT_UTF_8, b"\xff", [], "malformed"),
    # Headers are a list: in order, doubled, many, without a name or a value.
    Odd(b"k", good(4), DOUBLED, FACT),
    Odd(b"k", good(5), MANY, FACT),
    Odd(b"k", b"[]", DOUBLED, "type"),
    Odd(b"k", b"\x00", MANY, "malformed"),
    # What speaks of a dead letter is anybody's writing until we have written it.
    Odd(b"k", good(6), FORGED, FACT),
    Odd(b"k", b"{", FORGED, "malformed"),
]


def test_odd_records_have_their_fates_and_keep_their_bytes(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with _seeing(stack, tmp_path, seed) as torture:
        producer = Producer({"bootstrap.servers": stack.bootstrap_servers})
        for odd in ODD:
            producer.produce(torture.raw, odd.value, odd.key, 0, headers=list(odd.headers))
        assert producer.flush(30) == 0
        _work_off(torture, Counter(odd.fate for odd in ODD))

        facts, letters = _published(torture)
        wanted = [odd for odd in ODD if odd.fate == FACT]
        assert [fact.key for fact in facts] == [odd.key for odd in wanted], "the key did not stay"
        assert [_seen(torture, fact) for fact in facts] == [
            (odd.key, odd.headers) for odd in wanted
        ], "the transformation saw something else"

        wanted = [odd for odd in ODD if odd.fate not in {FACT, TOMBSTONE}]
        assert [(letter.key, letter.value, _own(letter)) for letter in letters] == [
            (odd.key, odd.value, [header for header in odd.headers if not _is_ours(header)])
            for odd in wanted
        ]
        for letter, odd in zip(letters, wanted, strict=True):
            said = [header for header in letter.headers if _is_ours(header)]
            assert len(said) == len(dict(said)), "something is said twice"
            assert dict(said)["mesh.dlq.rule"] == odd.fate.encode()
            assert dict(said)["__dlq.errors.topic"] == torture.raw.encode()


def test_a_header_whose_name_is_not_utf_8_costs_no_other_record(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with _seeing(stack, tmp_path, seed) as torture:
        _send_unreadable(stack, torture.raw, good(1), b"{")
        producer = Producer({"bootstrap.servers": stack.bootstrap_servers})
        producer.produce(torture.raw, good(2), b"k", 0)
        assert producer.flush(30) == 0
        _work_off(torture, Counter({"malformed": 2, FACT: 1}))

        facts, letters = _published(torture)
        assert [_seen(torture, fact) for fact in facts] == [(b"k", [])]
        assert [(letter.key, letter.value) for letter in letters] == [
            (b"\xff", good(1)),
            (b"\xff", b"{"),
        ]
        for letter in letters:
            said = dict(letter.headers)["__dlq.errors.message"]
            assert said is not None
            assert said.endswith(b"its own headers cannot be read and are not kept")


def _seeing(stack: Stack, tmp_path: Path, seed: int) -> Any:
    """A product whose facts keep the input's key and tell what its transformation sees."""
    return scene(
        stack, tmp_path, seed, partitions=1, output={"partitions": 1}, quality=[],
        files={"src/see.py": SEES}, transformation="src/see.py",
    )  # fmt: skip


def _work_off(torture: Scene, fates: Counter[str]) -> None:
    """Have one worker take all of it, once, and hold its books against what was sent."""
    slot = torture.slot(0)
    slot.start()
    eventually(lambda: torture.lag() == 0, within=60, what="all of them committed")
    torture.settle(within=30)
    rejected = {rule: count for rule, count in fates.items() if rule not in {FACT, TOMBSTONE}}
    assert slot.metric("mesh_records_consumed_total") == fates.total()
    assert slot.metric("mesh_records_filtered_total") == fates[TOMBSTONE]
    assert slot.metric("mesh_records_rejected_total") == sum(rejected.values())
    for rule, count in rejected.items():
        assert slot.metric("mesh_records_rejected_total", rule=rule) == count, rule
    assert slot.metric("mesh_records_filtered_total", reason=TOMBSTONE) == fates[TOMBSTONE]
    assert slot.metric("mesh_conservation_imbalance_records") == 0
    slot.signal(signal.SIGTERM)
    assert slot.wait(15) == 0, "it did not outlive them"


def _published(torture: Scene) -> tuple[list[Read], list[Read]]:
    facts, letters = torture.published
    records = torture.reader.records
    return (
        [read for read in records if read.topic == facts],
        [read for read in records if read.topic == letters],
    )


def _seen(torture: Scene, fact: Read) -> tuple[bytes | None, Headers]:
    """What the transformation saw: the key and the headers."""
    assert fact.value is not None
    schema = fastavro.parse_schema(dict(torture.product.contract.schema))
    written: Any = fastavro.schemaless_reader(BytesIO(fact.value[5:]), schema, None)
    key, headers = json.loads(written["padding"])
    return _bytes(key), [(name, _bytes(value)) for name, value in headers]


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def _own(letter: Read) -> Headers:
    return [header for header in letter.headers if not _is_ours(header)]


def _is_ours(header: Header) -> bool:
    return header[0].startswith(("__dlq.errors.", "mesh.dlq."))


def _send_unreadable(stack: Stack, topic: str, *values: bytes) -> None:
    """Send records with a header that the client library here would never write."""
    # In a process of its own: whether aiokafka runs in Python, where a name's encoding can be
    # meddled with, is decided when it is imported.
    subprocess.run(
        [sys.executable, __file__, stack.bootstrap_servers, topic, *(v.hex() for v in values)],
        env={**os.environ, "AIOKAFKA_NO_EXTENSIONS": "1"},
        check=True,
        timeout=60,
    )


class _NotUtf8(str):
    """A header's name as a client in another language may write it."""

    __slots__ = ()

    def encode(self, encoding: str = "", errors: str = "") -> bytes:
        return NOT_UTF_8


async def _write(servers: str, topic: str, values: Iterable[bytes]) -> None:
    # It comes with faust, and has no types.
    producer: Any = importlib.import_module("aiokafka").AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    try:
        for value in values:
            headers = [("before", b"1"), (_NotUtf8("name"), b"2")]
            await producer.send_and_wait(topic, value, b"\xff", 0, headers=headers)
    finally:
        await producer.stop()


if __name__ == "__main__":
    asyncio.run(_write(sys.argv[1], sys.argv[2], map(bytes.fromhex, sys.argv[3:])))
