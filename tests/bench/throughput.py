"""Rounds of the three contenders over the same input, interleaved, their counts checked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from tests.bench import worker_run
from tests.bench.arena import SILENCE_SECONDS, Arena, Written, create_topics, ends, read_back
from tests.bench.contender import Cost, Task
from tests.bench.orders import TOPIC, Books

COPY, HANDWRITTEN, WORKER = "copy", "handwritten", "worker"
SLOWEST_RATE = 5_000
"""Records a second below which a contender is taken to stand still."""
CONTENDERS = (COPY, HANDWRITTEN, WORKER)
_SCRIPTS = {COPY: "tests.bench.copy_loop", HANDWRITTEN: "tests.bench.handwritten"}


@dataclass(frozen=True, slots=True)
class Run:
    """One contender's pass over the input.

    Attributes:
        contender: Which.
        rate: Input records per second, from the first to the last fact that was committed.
        cpu: Processor seconds per million input records.
        peak_bytes: Its largest resident memory.
    """

    contender: str
    rate: float
    cpu: float
    peak_bytes: float


def rounds(arena: Arena, expected: Books, count: int) -> Iterator[dict[str, Run]]:
    """So many rounds; in each, every contender once, another one first each time.

    Raises:
        SystemExit: A contender's books do not balance, or it wrote other facts than another.
    """
    create_topics(arena, [_output(COPY), _output(HANDWRITTEN), _dead_letters(HANDWRITTEN)])
    facts: set[tuple[int, int]] = set()
    for number in range(count):
        turn = [CONTENDERS[(number + step) % 3] for step in range(3)]
        yield {who: _run(arena, who, expected, number, facts) for who in turn}


def _run(arena: Arena, who: str, expected: Books, number: int, facts: set[tuple[int, int]]) -> Run:
    output = arena.product.output.topic if who == WORKER else _output(who)
    dead_letters = arena.product.dead_letter_topic if who == WORKER else _dead_letters(who)
    before = ends(arena, output)
    buried_before = {} if who == COPY else ends(arena, dead_letters)
    if who == WORKER:
        cost, counted = worker_run.work_off(arena)
        _check(counted == expected, f"the worker's metrics say: {counted}; expected: {expected}")
    else:
        cost = _run_script(
            who,
            Task(
                bootstrap_servers=arena.settings.bootstrap_servers,
                input=TOPIC,
                records=expected.consumed,
                output=output,
                dead_letters=dead_letters,
                identity=f"bench.{who}.{number}",
                schema_id=arena.schema_id,
            ),
        )
    written = read_back(arena, output, before)
    wanted = expected.consumed if who == COPY else expected.facts
    _check(written.records == wanted, f"{who} left {written.records:,} records of {wanted:,}")
    if who != COPY:
        buried = read_back(arena, dead_letters, buried_before)
        found, wanted = buried.records, expected.rejected
        _check(found == wanted, f"{who} left {found:,} dead letters of {wanted:,}")
        facts.add((written.records, written.checksum))
        _check(len(facts) == 1, f"{who} wrote other facts than the contender before it")
    return _result(who, expected.consumed, written, cost)


def _result(who: str, consumed: int, written: Written, cost: Cost) -> Run:
    # Few records go within the millisecond that timestamps have.
    rate = consumed / max(written.seconds, 0.001)
    return Run(who, rate, cost.cpu_seconds / consumed * 1e6, cost.peak_bytes)


def _run_script(who: str, task: Task) -> Cost:
    command = [sys.executable, "-m", _SCRIPTS[who], msgspec.json.encode(task).decode()]
    patience = SILENCE_SECONDS + task.records / SLOWEST_RATE
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=patience)
    return msgspec.json.decode(done.stdout, type=Cost)


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SystemExit(f"the books do not balance: {otherwise}")


def _output(who: str) -> str:
    return f"bench.{who}"


def _dead_letters(who: str) -> str:
    return f"dlq.bench.{who}"
