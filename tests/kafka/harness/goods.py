"""The product under torture: what it is fed, and what each record has to become.

Every record has a number `n`, unique in the feed, and a place `seq` among the records of its key,
so that whatever is lost, doubled or out of order shows.
"""

from __future__ import annotations

import enum
import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

DOMAIN = "faults"

TRANSFORMATION = """
from __future__ import annotations

import time
from pathlib import Path

import msgspec

from mesh_stream import filtered

HERE = Path(__file__).parent


class Event(msgspec.Struct, frozen=True):
    n: int
    key: str
    seq: int
    kind: str
    padding: str = ""


class Fact(msgspec.Struct, frozen=True):
    n: int
    key: str
    seq: int
    padding: str


def work(event: Event):
    if event.kind == "skip":
        return filtered("skipped")
    if event.kind == "raise":
        raise RuntimeError("asked to")
    if event.kind == "gate":
        (HERE / "at-the-gate").touch()
        while not (HERE / "open").exists():
            time.sleep(0.01)
    if event.kind == "slow":
        time.sleep(float((HERE / "seconds").read_text()))
    return Fact(event.n, event.key, -1 if event.kind == "rule" else event.seq, event.padding)
"""


class Fate(enum.Enum):
    """What an input record has to become."""

    FACT = "a fact"
    LETTER = "a dead letter"
    FILTERED = "nothing"


@dataclass(frozen=True, slots=True)
class Good:
    """One input record and its fate."""

    n: int
    key: str
    seq: int
    value: bytes
    fate: Fate


class Goods:
    """An endless supply of records, the same for the same seed.

    Args:
        seed: Of everything that is random here.
        keys: How many different keys.
        bad: Share of records that have to become dead letters.
        skipped: Share of records that are filtered.
    """

    def __init__(
        self, seed: int, *, keys: int = 40, bad: float = 0.01, skipped: float = 0.02
    ) -> None:
        self._random = random.Random(seed)
        self._keys = [f"k{number}" for number in range(keys)]
        self._bad = bad
        self._skipped = skipped
        self._seqs: Counter[str] = Counter()
        self._n = 0

    def next(self, kind: str | None = None, *, key: str | None = None, padding: str = "") -> Good:
        """The next record; of a random kind and key unless told otherwise."""
        if kind is None:
            kind = self._kind()
        key = key or self._random.choice(self._keys)
        n, seq = self._n, self._seqs[key]
        self._n += 1
        self._seqs[key] += 1
        event = {"n": n, "key": key, "seq": seq, "kind": kind, "padding": padding}
        value = json.dumps(event).encode()
        if kind == "malformed":
            value = value[:-1]
        if kind in {"malformed", "rule", "raise"}:
            return Good(n, key, seq, value, Fate.LETTER)
        return Good(n, key, seq, value, Fate.FILTERED if kind == "skip" else Fate.FACT)

    def _kind(self) -> str:
        draw = self._random.random()
        if draw < self._bad:
            return self._random.choice(("malformed", "rule", "raise"))
        return "skip" if draw < self._bad + self._skipped else "good"


def write_product(
    root: Path, name: str, *, files: Mapping[str, str] | None = None, **changes: object
) -> Path:
    """Write the product's folder below `root`; returns the folder.

    Args:
        root: The folder of products.
        name: The product's name; its raw topic is `raw.<name>`.
        files: Path below the product's folder -> text, of files that it has besides.
        changes: Parts of `data_product` that replace the usual ones.
    """
    folder = root / DOMAIN / name
    for path, content in (files or {}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    (folder / "src" / "transformations").mkdir(parents=True)
    (folder / "src" / "transformations" / "work.py").write_text(TRANSFORMATION)
    declared: dict[str, object] = {
        "name": name,
        "owner": "fault-team",
        "description": "Every event, once",
        "sla": {"freshness": "1_minute", "availability": "99%"},
        "schema": [{"n": "long"}, {"key": "string"}, {"seq": "long"}, {"padding": "string"}],
        "inputs": [{"topic": f"raw.{name}"}],
        "output": {"key": "key", "partitions": 3},
        "quality": [{"rule": "between", "column": "seq", "min": 0, "name": "seq_counts_up"}],
        **changes,
    }
    text = yaml.safe_dump({"data_product": declared}, sort_keys=False)
    (folder / "data_product.yaml").write_text(text)
    return folder
