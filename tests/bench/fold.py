"""`python -m tests.bench.fold`: the keyed fold, its restore and its memory, in a table.

Three contenders over the same movements, interleaved: the loop by hand with its states in a dict,
the product worker as deployed with room in its cache for every state, and the same with room for a
quarter. Measured is from the first second movement of a good on: by then the states of all are in
the cache, as far as they fit. Every contender's last fact of each key is held against what it has
to be, before a time is printed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

import fastavro
import msgspec
from confluent_kafka import Producer

from mesh_stream.kafka import groups, topics
from mesh_stream.kafka.client import admin, producer_settings
from mesh_stream.kafka.preflight import preflight
from mesh_stream.kafka.reader import Reader
from mesh_stream.kafka.registry import SchemaRegistry
from mesh_stream.local.stack import ephemeral
from mesh_stream.product.loader import load_mesh
from tests.bench import restoring
from tests.bench.arena import PARTITIONS, PRODUCTS, SILENCE_SECONDS, Arena, ends, provision
from tests.bench.contender import Cost, Task
from tests.bench.moves import KEYS, TOPIC, moves, stock_after
from tests.bench.process import Company
from tests.bench.throughput import SLOWEST_RATE
from tests.bench.worker_run import await_offsets, running

OF_HANDWRITTEN, RESTORED_RATE, RESTORED_MEGABYTES = 0.85, 300_000.0, 400.0
HANDWRITTEN, WARM, COLD = "hand-written loop", "worker", "worker, a quarter cached"
_PRODUCTS = {WARM: "bench-stock", COLD: "bench-stock-cold"}
_OUTPUT, _CHANGELOG = "bench.fold", "bench.fold.changelog"


def main() -> None:
    """Measure, and print what was reached."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fold", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, help="movements in the backlog")
    parser.add_argument("--rounds", type=int, default=3, help="passes of each contender")
    parser.add_argument("--keys", type=int, default=1_000_000, help="states that are restored")
    options = parser.parse_args()
    if options.records < 2 * KEYS:
        parser.error(f"at least {2 * KEYS:,} records: {KEYS:,} of them warm the caches")
    with (
        tempfile.TemporaryDirectory(prefix="mesh-bench-") as folder,
        ephemeral(Path(folder) / "stack") as stack,
    ):
        os.environ["MESH_STATE"] = str(Path(folder) / "state")
        arenas = _provision(provision(stack, _products(Path(folder))))
        _fill(arenas[WARM], options.records)
        company = Company(part.pid for part in stack.parts)
        rates: list[dict[str, tuple[float, Cost]]] = []
        for number in range(options.rounds):
            turn = [(*arenas,)[(number + step) % 3] for step in range(3)]
            rates.append({who: _run(arenas[who], who, options.records, number) for who in turn})
            told = ", ".join(f"{who} {rates[-1][who][0]:,.0f}/s" for who in arenas)
            print(f"round {number + 1} of {options.rounds}: {told}", file=sys.stderr, flush=True)
        restored = restoring.measure(arenas[WARM], options.keys)
        others = company.processors()
    _print(options.records, rates)
    _verdict("restore, records/s", restored.rate, RESTORED_RATE)
    _verdict("memory with them restored, MB", restored.megabytes, RESTORED_MEGABYTES, most=True)
    if others > 0.1:
        print(f"NOT QUIET  other processes took {others:.1f} processors: measure again")


def _products(folder: Path) -> Path:
    """The benchmark's products, and one with memory for a quarter of the states."""
    products = folder / "products"
    shutil.copytree(PRODUCTS, products)
    cold = shutil.copytree(
        products / "bench" / _PRODUCTS[WARM], products / "bench" / _PRODUCTS[COLD]
    )
    declaration = cold / "data_product.yaml"
    text = declaration.read_text().replace(f"name: {_PRODUCTS[WARM]}", f"name: {_PRODUCTS[COLD]}")
    declaration.write_text(f"{text}  limits:\n    cached_states: {KEYS // 4}\n")
    return products


def _provision(arena: Arena) -> dict[str, Arena]:
    mesh = load_mesh(arena.settings.products)
    found = {HANDWRITTEN: arena}
    with SchemaRegistry(arena.settings) as registry:
        for who, name in _PRODUCTS.items():
            product = mesh.products[name]
            schema_id = preflight(arena.settings, product, registry).schema_id
            found[who] = replace(arena, product=product, schema_id=schema_id)
    found[HANDWRITTEN] = found[WARM]
    client = admin(arena.settings)
    for name in (_OUTPUT, _CHANGELOG):
        topics.create(client, name, partitions=PARTITIONS, replicas=1, settings={})
    return found


def _fill(arena: Arena, count: int) -> None:
    producer = Producer(producer_settings(arena.settings, client_id="bench.fill"))
    for key, value in moves(count):
        while True:
            try:
                producer.produce(TOPIC, value, key)
                break
            except BufferError:
                producer.poll(0.1)
    if unsent := producer.flush(SILENCE_SECONDS):
        raise SystemExit(f"{unsent} movements could not be written to {TOPIC}")


def _run(arena: Arena, who: str, count: int, number: int) -> tuple[float, Cost]:
    output = _OUTPUT if who == HANDWRITTEN else arena.product.output.topic
    before = ends(arena, output)
    if who == HANDWRITTEN:
        task = Task(
            bootstrap_servers=arena.settings.bootstrap_servers,
            input=TOPIC,
            records=count,
            output=output,
            dead_letters=_CHANGELOG,
            identity=f"bench.fold.{number}",
            schema_id=arena.schema_id,
        )
        command = [sys.executable, "-m", "tests.bench.handwritten_fold"]
        done = subprocess.run(
            [*command, msgspec.json.encode(task).decode()],
            stdout=subprocess.PIPE,
            check=True,
            timeout=SILENCE_SECONDS + count / SLOWEST_RATE,
        )
        cost = msgspec.json.decode(done.stdout, type=Cost)
    else:
        _forget(arena)
        with running(arena) as worker:
            loaded = worker.cost()
            await_offsets(arena, worker, TOPIC, count)
            total = worker.cost()
            cost = Cost(total.cpu_seconds - loaded.cpu_seconds, total.peak_bytes)
    return (count - KEYS) / _check(arena, who, output, before, count), cost


def _forget(arena: Arena) -> None:
    """Have the product begin anew: its changelog, its offsets, its stores."""
    product, client = arena.product, admin(arena.settings)
    if groups.committed(arena.settings, product.group, [(TOPIC, 0)]):
        client.delete_consumer_groups([product.group])[product.group].result(SILENCE_SECONDS)
    client.delete_topics([product.changelog_topic])[product.changelog_topic].result(SILENCE_SECONDS)
    topics.create(
        client,
        product.changelog_topic,
        partitions=PARTITIONS,
        replicas=1,
        settings=topics.changelog_settings(1),
    )
    shutil.rmtree(Path(os.environ["MESH_STATE"]), ignore_errors=True)


def _check(arena: Arena, who: str, output: str, before: dict[int, int], count: int) -> float:
    """Hold the last fact of each key against what it has to be; returns the seconds measured."""
    schema = fastavro.parse_schema(dict(arena.product.contract.schema))
    found: dict[bytes, tuple[int, int]] = {}
    first_at, last_at = float("inf"), 0.0
    for key, value, at in _facts(arena, output, before):
        fact: Any = fastavro.schemaless_reader(BytesIO(value[5:]), schema, None)
        found[key] = (fact["on_hand"], fact["moves"])
        if fact["moves"] > 1:
            first_at, last_at = min(first_at, at), max(last_at, at)
    if found != stock_after(count):
        raise SystemExit(f"the books do not balance: {who} came to other states")
    return max(0.001, (last_at - first_at) / 1000)


def _facts(
    arena: Arena, output: str, before: dict[int, int]
) -> Iterator[tuple[bytes, bytes, float]]:
    wanted = {(output, number): end for number, end in ends(arena, output).items()}
    with Reader(arena.settings, client_id="bench.reader") as reader:
        reader.start({(output, number): at for number, at in before.items()})
        while not reader.has_reached(wanted):
            for message in reader.poll(0.1):
                yield message.key() or b"", message.value() or b"", message.timestamp()[1]


def _print(count: int, rates: list[dict[str, tuple[float, Cost]]]) -> None:
    print(
        f"{count:,} movements of {KEYS:,} goods, {PARTITIONS} partitions; {len(rates)} rounds,"
        f" interleaved; every contender came to the right state of every good\n\n"
        f"{'':<26}{'in/s':>10}{'CPU s/M':>10}{'peak MB':>10}{'of the hand-written':>22}"
    )
    ratios = {}
    for who in rates[0]:
        ratios[who] = median(one[who][0] / one[HANDWRITTEN][0] for one in rates)
        print(
            f"{who:<26}{median(one[who][0] for one in rates):>10,.0f}"
            f"{median(one[who][1].cpu_seconds / count * 1e6 for one in rates):>10.2f}"
            f"{max(one[who][1].peak_bytes for one in rates) / 1e6:>10.0f}{ratios[who]:>22.2f}"
        )
    print()
    _verdict("fold of the hand-written loop", ratios[WARM], OF_HANDWRITTEN)


def _verdict(what: str, found: float, goal: float, *, most: bool = False) -> None:
    reached = found <= goal if most else found >= goal
    word = "reached" if reached else "MISSED "
    bound = "at most" if most else "at least"
    text = f"{found:,.2f}" if found < 10 else f"{found:,.0f}"
    print(f"{word}  {what}: {text} ({bound} {goal:,.2f})")


if __name__ == "__main__":
    main()
