"""The verifier of products that remember: what they must have come to, without any of our code.

The reference is computed from what was fed, as it lies on the raw topics: facts, dead letters and
states. The states are those of the changelog, read as any consumer would: the newest value of each
key, msgpack, and Kafka's own word on what is committed.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import fastavro
import msgspec

from tests.kafka.harness.reader import Read
from tests.kafka.harness.tallies import GRACE_MS, SIZE_MS, Kind, Move
from tests.kafka.harness.verifier import ORIGIN, Findings

Place = tuple[str, int, int]
"""(topic, partition, offset)."""
Places = Mapping[Place, Move]
_BIAS = 1 << 63
REJECTED_AT_ONCE = ("malformed", "early", "untimed")
"""Kinds of events that never come to a window."""


@dataclass(slots=True)
class Expected:
    """What a product must have come to.

    Attributes:
        counts: (account, seq of part `a`) -> the tally's count then, without part `b`.
        tallies: Account -> (count, a, b), as it is remembered now.
        closed: (account, start of the window) -> (count, total), published.
        opened: The same, still remembered.
        spoiled: Accounts whose windows became dead letters, each as often.
        letters: Where the records lie that became dead letters.
    """

    counts: dict[tuple[str, int], int] = field(default_factory=dict)
    tallies: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    closed: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    opened: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    spoiled: Counter[str] = field(default_factory=Counter)
    letters: set[Place] = field(default_factory=set)


def expect(kind: Kind, places: Places, sources: Iterable[tuple[str, int]]) -> Expected:
    """Compute what must come of records.

    Args:
        kind: The product.
        places: Where they lie on the raw topics.
        sources: Every partition of these topics.
    """
    by_source: dict[tuple[str, int], list[tuple[Place, Move]]] = {one: [] for one in sources}
    for place in sorted(places):
        by_source[place[:2]].append((place, places[place]))
    if kind is Kind.WINDOWED:
        return _expect_windows(by_source)
    expected = Expected()
    for moves in by_source.values():
        for place, move in moves:
            _count(expected, place, move)
    return expected


def _count(expected: Expected, place: Place, move: Move) -> None:
    if move.kind in {"malformed", "raise", "rule"}:
        expected.letters.add(place)
    elif move.kind == "forget":
        expected.tallies.pop(move.account, None)
    elif move.kind != "skip":
        count, a, b = expected.tallies.get(move.account, (0, -1, -1))
        a, b = (move.seq, b) if move.part == "a" else (a, move.seq)
        expected.tallies[move.account] = (count + 1, a, b)
        if move.part == "a":
            expected.counts[move.account, move.seq] = count + 1


def _expect_windows(by_source: Mapping[tuple[str, int], list[tuple[Place, Move]]]) -> Expected:
    expected = Expected()
    highest = dict.fromkeys(by_source, -1)
    bins: dict[tuple[str, int], tuple[int, int]] = {}
    for source, moves in by_source.items():
        for place, move in moves:
            if move.kind in REJECTED_AT_ONCE:
                expected.letters.add(place)
            if move.kind in REJECTED_AT_ONCE or move.kind == "skip":
                continue
            start = move.at - move.at % SIZE_MS
            late = start + SIZE_MS + GRACE_MS <= highest[source]
            highest[source] = max(highest[source], move.at)
            if late or move.kind == "raise":
                expected.letters.add(place)
                continue
            count, total = bins.get((move.account, start), (0, 0))
            if move.kind == "spoil":
                bins[move.account, start] = (count - 1_000_000, total)
            else:
                bins[move.account, start] = (count + 1, total + move.seq)
    passed = min(highest.values()) - GRACE_MS - SIZE_MS
    for (account, start), (count, total) in bins.items():
        if start > passed:
            expected.opened[account, start] = (count, total)
        elif count < 0:
            expected.spoiled[account] += 1
        else:
            expected.closed[account, start] = (count, total)
    return expected


def check_facts(
    kind: Kind, expected: Expected, facts: Sequence[Read], schema: Any, findings: Findings
) -> None:
    """Hold facts against what must have come of the input."""
    published: Counter[tuple[str, int]] = Counter()
    newest: dict[str, Mapping[str, Any]] = {}
    home: dict[str, int] = {}
    for read in facts:
        assert read.value is not None
        fact: Any = fastavro.schemaless_reader(BytesIO(read.value[5:]), schema, None)
        account = fact["account"]
        if read.key != account.encode():
            findings.add("key is not the account", _at(read))
        if home.setdefault(account, read.partition) != read.partition:
            findings.add("account in two partitions", f"{account} at {_at(read)}")
        if kind is Kind.WINDOWED:
            start = int(fact["start"].timestamp() * 1000)
            published[account, start] += 1
            if expected.closed.get((account, start)) != (fact["count"], fact["total"]):
                findings.add(
                    "fact is wrong",
                    f"{fact} at {_at(read)}, not {expected.closed.get((account, start))}",
                )
            continue
        before = newest.get(account, {"a": -1, "b": -1})
        if (fact["a"], fact["b"]) == (before["a"], before["b"]):
            findings.add("fact doubled", f"{fact} at {_at(read)}")
        elif fact["a"] < before["a"] or fact["b"] < before["b"]:
            findings.add("order broken", f"{fact} after {before} at {_at(read)}")
        newest[account] = fact
        count = expected.counts.get((account, fact["a"]), 0) + fact["b"] + 1
        if fact["count"] != count or fact["broken"]:
            findings.add("fact is wrong", f"{fact} at {_at(read)}; counted are {count}")
    if kind is Kind.WINDOWED:
        for window, times in published.items():
            if times > 1:
                findings.add("window published again", f"{window} {times} times")
        for window in expected.closed.keys() - published.keys():
            findings.add("window not published", f"{window}")
        return
    for account, (count, a, b) in expected.tallies.items():
        fact = newest.get(account)
        if fact is None or (fact["count"], fact["a"], fact["b"]) != (count, a, b):
            findings.add("newest fact is not the state", f"{account}: {fact}, not {count, a, b}")


def check_letters(
    expected: Expected, letters: Sequence[Read], changelog: str, places: Places, findings: Findings
) -> None:
    """Hold dead letters against the records that must have become some."""
    found: Counter[Place] = Counter()
    spoiled: Counter[str] = Counter()
    for read in letters:
        headers = dict(read.headers)
        topic, partition, offset = ((headers.get(name) or b"").decode() for name in ORIGIN)
        if topic == changelog:
            assert read.key is not None
            spoiled[read.key.decode()] += 1
            continue
        place = (topic, int(partition), int(offset))
        if place not in places:
            # From the product's own topic: it says where it came from.
            event = json.loads(read.value or b"{}")
            source, _, number = event.get("source", "?:-1").rpartition(":")
            place = (source, int(number), event.get("offset", -1))
        elif read.value != places[place].value:
            findings.add("dead letter is not its original", _at(read))
        found[place] += 1
    for place in found.keys() | expected.letters:
        if found[place] != (place in expected.letters):
            what = places[place].kind if place in places else "nothing known"
            findings.add("dead letter", f"{found[place]} of {place}, which is {what}")
    if spoiled != expected.spoiled:
        findings.add("dead letters of windows", f"{spoiled}, not {expected.spoiled}")


def check_state(
    kind: Kind,
    expected: Expected,
    changelog: Sequence[Read],
    committed: Mapping[int, int],
    findings: Findings,
) -> None:
    """Hold the states, rebuilt from the changelog, against the reference.

    Args:
        kind: The product.
        expected: The reference.
        changelog: Everything on it, partition by partition in order.
        committed: Partition -> the group's offset of the fold's topic.
        findings: What is wrong.
    """
    rebuilt: dict[tuple[int, bytes], bytes] = {}
    for read in changelog:
        assert read.key is not None
        if read.value is None:
            rebuilt.pop((read.partition, read.key), None)
        else:
            rebuilt[read.partition, read.key] = read.value
    states: dict[Any, Any] = {}
    metas: dict[int, int] = {}
    for (partition, key), value in rebuilt.items():
        name: Any
        match key[:1]:
            case b"m":
                metas[partition] = msgspec.msgpack.decode(value)["offset"]
                continue
            case b"t":
                continue
            case b"s":
                name, entry = key[1:].decode(), msgspec.msgpack.decode(value)
                content: Any = (entry["count"], entry["a"], entry["b"])
                if entry["broken"]:
                    findings.add("broken in the fold", f"{entry}")
            case _:
                start = int.from_bytes(key[1:9], "big") - _BIAS
                name, entry = (key[9:].decode(), start), msgspec.msgpack.decode(value)
                content = (entry["count"], entry["total"])
        if name in states:
            findings.add("state in two partitions", f"{name}")
        states[name] = content
    wanted: Mapping[Any, Any] = expected.opened if kind is Kind.WINDOWED else expected.tallies
    for name in states.keys() | wanted.keys():
        if states.get(name) != wanted.get(name):
            findings.add("state is wrong", f"{name}: {states.get(name)}, not {wanted.get(name)}")
    for partition, offset in committed.items():
        if metas.get(partition, 0) != offset:
            findings.add(
                "changelog and group differ", f"[{partition}]: {metas.get(partition)}, not {offset}"
            )


def split(records: Iterable[Read]) -> Mapping[str, list[Read]]:
    """Records by topic."""
    by_topic: dict[str, list[Read]] = defaultdict(list)
    for read in records:
        by_topic[read.topic].append(read)
    return by_topic


def _at(read: Read) -> str:
    return f"{read.topic}[{read.partition}]@{read.offset}"
