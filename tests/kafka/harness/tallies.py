"""Products that remember, under torture: what they are fed, and the code that they run.

Each event says how many of its account came before it, so that the fold itself sees what is lost,
doubled or out of order. Three kinds:

    direct         keyed by the account on its raw topic; a tally for each account, for ever
    repartitioned  two raw topics, keyed by something else; the same tally
    windowed       one raw topic without order between its partitions; a tally for each account and
                   ten seconds, published when these are over
"""

from __future__ import annotations

import enum
import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.kafka.harness.goods import DOMAIN, Fate, Good, Goods

SIZE_MS, GRACE_MS = 10_000, 5_000
"""Of the windows."""
BEGAN_MS = 1_600_000_000_000
STEP_MS = 20
"""Between two events, by their own time."""

COMMON = """
from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import msgspec

from mesh_stream import filtered

HERE = Path(__file__).parent


class Event(msgspec.Struct, frozen=True):
    account: str
    seq: int
    kind: str
    part: str
    at: int
    padding: str = ""


def work(event: Event):
    if event.kind == "skip":
        return filtered("skipped")
    if event.kind == "gate":
        (HERE / "at-the-gate").touch()
        while not (HERE / "open").exists():
            time.sleep(0.01)
    if event.kind == "slow":
        time.sleep(float((HERE / "seconds").read_text()))
    return event
"""

TALLY = """

class Tally(msgspec.Struct, frozen=True):
    account: str
    count: int
    a: int = -1
    b: int = -1
    broken: int = 0


def fold(state: Tally | None, event: Event) -> Tally | None:
    if event.kind == "raise":
        raise RuntimeError("asked to")
    if event.kind == "forget":
        return None
    was = state or Tally(event.account, 0)
    last = was.a if event.part == "a" else was.b
    return msgspec.structs.replace(
        was,
        count=-1 if event.kind == "rule" else was.count + 1,
        broken=was.broken + (state is not None and event.seq >= 0 and event.seq != last + 1),
        **{event.part: event.seq},
    )
"""

BINS = """

class Bin(msgspec.Struct, frozen=True):
    count: int
    total: int


class Counted(msgspec.Struct, frozen=True):
    account: str
    start: datetime
    count: int
    total: int


def fold(state: Bin | None, event: Event) -> Bin | None:
    if event.kind == "raise":
        raise RuntimeError("asked to")
    was = state or Bin(0, 0)
    if event.kind == "spoil":
        return Bin(was.count - 1_000_000, was.total)
    return Bin(was.count + 1, was.total + event.seq)


def fact(key, window, state):
    return Counted(key, window.start, state.count, state.total)
"""


class Kind(enum.Enum):
    """The products that there are."""

    DIRECT = "direct"
    REPARTITIONED = "repartitioned"
    WINDOWED = "windowed"


ODD = {
    Kind.DIRECT: ("malformed", "raise", "rule", "forget", "forget"),
    Kind.REPARTITIONED: ("malformed", "raise", "rule"),
    Kind.WINDOWED: ("malformed", "raise", "spoil"),
}
"""Kinds of events other than good ones."""


@dataclass(frozen=True, slots=True)
class Move(Good):
    """One event; `key` is its record's, `seq` its place in its account, -1 if it has none."""

    account: str
    kind: str
    part: str
    at: int


class Moves(Goods):
    """An endless supply of events for one raw topic, the same for the same seed.

    Args:
        seed: Of everything that is random here.
        kind: For which product.
        part: `a` or `b`: which of its raw topics.
        accounts: How many there are.
        bad: Share of records that have to become dead letters, each in another way.
    """

    def __init__(
        self, seed: int, kind: Kind, *, part: str = "a", accounts: int = 40, bad: float = 0.01
    ) -> None:
        super().__init__(seed)
        self._random = random.Random(f"{seed} {part}")
        self._accounts = [f"k{number}" for number in range(accounts)]
        self._product, self._part, self._bad = kind, part, bad
        self._next: Counter[str] = Counter()
        self._sent = 0
        self.clock = BEGAN_MS

    def next(
        self,
        kind: str | None = None,
        *,
        key: str | None = None,
        padding: str = "",
        at: int | None = None,
    ) -> Move:
        """The next event; of a random kind and account (`key`) unless told otherwise."""
        kind = kind or self._draw()
        account = key or self._random.choice(self._accounts)
        if at is None:
            at = self._time()
        counts = self._product is Kind.WINDOWED or kind not in {
            "malformed",
            "skip",
            "raise",
            "rule",
        }
        seq = self._next[account] if counts else -1
        self._next[account] += counts
        n, self._sent = self._sent, self._sent + 1
        event = {
            "account": account, "seq": seq, "kind": kind, "part": self._part, "at": at,
            "padding": padding,
        }  # fmt: skip
        value = json.dumps(event).encode()
        if kind == "malformed":
            value = value[:-1]
        fate = Fate.LETTER if kind in {"malformed", "raise", "rule"} else Fate.FACT
        return Move(
            n, self._record_key(account), seq, value, Fate.FILTERED if kind == "skip" else fate,
            account, kind, self._part, at,
        )  # fmt: skip

    def _draw(self) -> str:
        draw = self._random.random()
        if draw < self._bad:
            return self._random.choice(ODD[self._product])
        return "skip" if draw < self._bad + 0.02 else "good"

    def _record_key(self, account: str) -> str:
        if self._product is Kind.DIRECT:
            return account
        if self._product is Kind.WINDOWED:
            return str(self._random.random())
        # Not the account, and yet in the account's order.
        return f"group {int(account[1:]) % 7}"

    def _time(self) -> int:
        self.clock += STEP_MS
        # Some out of order, but in time; some too late, where they meet a source that is ahead.
        back = self._random.random()
        if back < 0.03:
            return self.clock - SIZE_MS - 4 * GRACE_MS
        return self.clock - int(self._random.random() * GRACE_MS) if back < 0.3 else self.clock


def write_tallies(root: Path, name: str, kind: Kind, **changes: Any) -> Path:
    """Write a product's folder below `root`; returns it.

    Args:
        root: The folder of products.
        name: The product's name; its raw topics are `raw.<name>` and `raw.<name>-b`.
        kind: Which product.
        changes: Parts of `data_product` that replace the usual ones; of `state`, parts of it.
    """
    folder = root / DOMAIN / name
    state: dict[str, object] = {"key": "account"}
    inputs: list[dict[str, object]] = [{"topic": f"raw.{name}"}]
    schema = [{"account": "string"}, *({one: "long"} for one in ("count", "a", "b", "broken"))]
    code = COMMON + TALLY
    match kind:
        case Kind.DIRECT:
            inputs[0]["key"] = "account"
        case Kind.REPARTITIONED:
            inputs.append({"topic": f"raw.{name}-b"})
        case Kind.WINDOWED:
            code = COMMON + BINS
            inputs[0]["event_time"] = "at"
            state |= {
                "window": {"tumbling": "10_seconds"}, "grace": "5_seconds",
                "emit": "on_close", "idle": "1_hour",
            }  # fmt: skip
            schema = [
                {"account": "string"}, {"start": "timestamp"}, {"count": "long"}, {"total": "long"},
            ]  # fmt: skip
    declared: dict[str, object] = {
        "name": name,
        "owner": "fault-team",
        "description": "Every event, counted once",
        "sla": {"freshness": "1_minute", "availability": "99%"},
        "schema": schema,
        "inputs": inputs,
        "output": {"partitions": 3},
        "quality": [{"rule": "between", "column": "count", "min": 0, "name": "counts_up"}],
        **{key: value for key, value in changes.items() if key not in {"state", "code"}},
        "state": {**state, **changes.get("state", {})},
    }
    write(folder, declared, changes.get("code", code))
    return folder


def write(folder: Path, declared: Mapping[str, object], code: str) -> None:
    """Write a declaration and its code; again, where a product changes."""
    (folder / "src" / "transformations").mkdir(parents=True, exist_ok=True)
    (folder / "src" / "transformations" / "tally.py").write_text(code)
    text = yaml.safe_dump({"data_product": dict(declared)}, sort_keys=False)
    (folder / "data_product.yaml").write_text(text)
