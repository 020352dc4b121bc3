"""The verifier: facts and dead letters against what was fed, computed without any of our code.

After Kafka Streams' `EosTestDriver`: every input record exactly once, with the fate it has to have;
order kept for each key; nothing that a reader saw during the faults is different afterwards.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import fastavro

from tests.kafka.harness.goods import Fate, Good
from tests.kafka.harness.reader import Read

ORIGIN = ("__dlq.errors.topic", "__dlq.errors.partition", "__dlq.errors.offset")


@dataclass(slots=True)
class Findings:
    """What is wrong; empty if nothing is. Many faults look alike: a few of each kind are enough."""

    problems: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, detail: str) -> None:
        self.problems[kind].append(detail)

    def __bool__(self) -> bool:
        return bool(self.problems)

    def __str__(self) -> str:
        lines = [
            f"{len(details)} x {kind}: {'; '.join(details[:5])}"
            for kind, details in self.problems.items()
        ]
        return "\n".join(lines) or "nothing is wrong"


def check(
    records: Iterable[Read],
    *,
    sent: Sequence[Good],
    places: Mapping[tuple[str, int, int], Good],
    schema: Any,
    letters_topic: str,
) -> Findings:
    """Compares what was read with what was sent.

    Args:
        records: Everything read from the facts' and the dead letters' topics.
        sent: Everything that was fed.
        places: (topic, partition, offset) of the raw topic -> what was fed there.
        schema: The facts' schema, parsed by fastavro.
        letters_topic: The dead letters' topic; all else are facts.
    """
    findings = Findings()
    became: Counter[int] = Counter()
    newest: dict[tuple[bool, str], int] = {}
    home: dict[tuple[bool, str], int] = {}
    for read in records:
        is_letter = read.topic == letters_topic
        good = (
            _source_of_letter(read, places, findings)
            if is_letter
            else _source_of_fact(read, sent, schema, findings)
        )
        if good is None:
            continue
        became[good.n] += 1
        wanted = Fate.LETTER if is_letter else Fate.FACT
        if good.fate is not wanted:
            findings.add("wrong fate", f"n={good.n} is {wanted.value}, not {good.fate.value}")
        lane = (is_letter, good.key)
        if home.setdefault(lane, read.partition) != read.partition:
            findings.add("key in two partitions", f"{good.key} at {_at(read)}")
        if newest.get(lane, -1) >= good.seq:
            findings.add("order broken", f"{good.key} seq {good.seq} at {_at(read)}")
        newest[lane] = good.seq
    for good in sent:
        times = became[good.n]
        if times > 1:
            findings.add("doubled", f"n={good.n} ({good.key} seq {good.seq}) {times} times")
        elif times == 0 and good.fate is not Fate.FILTERED:
            findings.add("lost", f"n={good.n} ({good.key} seq {good.seq})")
    return findings


def differences(during: Sequence[Read], after: Sequence[Read]) -> Findings:
    """What a reader saw during the faults that is not there afterwards, or the other way round."""
    findings = Findings()
    then, now = _by_partition(during), _by_partition(after)
    for partition in then.keys() | now.keys():
        if then[partition] != now[partition]:
            gone = [read for read in then[partition] if read not in now[partition]]
            new = [read for read in now[partition] if read not in then[partition]]
            for read in gone:
                findings.add("read during the faults, gone afterwards", _at(read))
            for read in new:
                findings.add("not read during the faults, there afterwards", _at(read))
            if not gone and not new:
                findings.add("read in another order", f"{partition[0]}[{partition[1]}]")
    return findings


def _by_partition(records: Iterable[Read]) -> dict[tuple[str, int], list[Read]]:
    sorted_out: dict[tuple[str, int], list[Read]] = defaultdict(list)
    for read in records:
        sorted_out[read.topic, read.partition].append(read)
    return sorted_out


def _source_of_fact(
    read: Read, sent: Sequence[Good], schema: Any, findings: Findings
) -> Good | None:
    assert read.value is not None
    fact: Any = fastavro.schemaless_reader(BytesIO(read.value[5:]), schema, None)
    good = sent[fact["n"]] if 0 <= fact["n"] < len(sent) else None
    if good is None:
        findings.add("fact of nothing", f"n={fact['n']} at {_at(read)}")
    elif (fact["key"], fact["seq"]) != (good.key, good.seq) or read.key != good.key.encode():
        findings.add("fact is wrong", f"n={good.n} at {_at(read)}")
    return good


def _source_of_letter(
    read: Read, places: Mapping[tuple[str, int, int], Good], findings: Findings
) -> Good | None:
    headers = dict(read.headers)
    topic, partition, offset = (headers.get(name) for name in ORIGIN)
    if topic is None or partition is None or offset is None:
        findings.add("dead letter without origin", _at(read))
        return None
    good = places.get((topic.decode(), int(partition), int(offset)))
    if good is None:
        findings.add("dead letter of nothing", _at(read))
    elif read.value != good.value or read.key != good.key.encode():
        findings.add("dead letter is not its original", f"n={good.n} at {_at(read)}")
    return good


def _at(read: Read) -> str:
    return f"{read.topic}[{read.partition}]@{read.offset}"
