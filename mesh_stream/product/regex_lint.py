"""Checks a regular expression before it is applied to every record.

Python's engine tries every way in which an expression can match. Where a repeated part can match
the same text in two ways, as in `(a+)+`, the number of ways doubles with every character, and one
record can stall a worker for ever. Such expressions are found by building the automaton of their
positions and looking for a loop that can be walked in two ways over the same text (exponential
ambiguity: Weideman and others, *Analyzing Matching Time Behavior of Backtracking Regular Expression
Matchers*, 2016).
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

MAX_LENGTH = 1_000
# Expressions of more positions inside one loop are refused: nobody could say how they behave.
MAX_LOOP = 150
# Counted repeats are copied up to here, or up to the second where all copies have one length.
# Beyond, they are treated as unbounded: `(.*a){20}` is as hopeless as `(.*a)*`.
MAX_COPIES = 4
MAX_EXACT_COPIES = 64

# The standard library's own parser; its module has no public name since Python 3.11.
_parser: Any = importlib.import_module("re._parser")

_SAMPLES = "aZ09_- \n\t.\u00e9\u4e00\U0001f600"


def regex_problem(pattern: object) -> tuple[str, str, str] | None:
    """Returns what is wrong with an expression, as found, expected and remedy; None if nothing.

    Args:
        pattern: What an author gave as an expression.
    """
    if not isinstance(pattern, str):
        found = f"{type(pattern).__name__} as a regular expression"
        return found, "text; flags go inside it, as in (?i)", ""
    if len(pattern) > MAX_LENGTH:
        found = f"a regular expression of {len(pattern)} characters"
        return found, f"at most {MAX_LENGTH}", ""
    try:
        with warnings.catch_warnings():
            # Such as a possible nested set: what it means today it may not mean tomorrow.
            warnings.simplefilter("error")
            _parser.parse(pattern)
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError, Warning) as cause:
        return f"the regular expression {pattern!r}", f"one that compiles ({cause})", ""
    if is_explosive(pattern):
        return (
            f"the regular expression {pattern!r}, in which a repeat matches one text in many ways",
            "one that takes no exponential time: a single record could stall the worker",
            "let each repeat inside a repeat begin with what cannot stand before it",
        )
    return None


def is_explosive(pattern: str) -> bool:
    """Whether matching a text can take time exponential in its length."""
    parsed = _parser.parse(pattern)
    flags = parsed.state.flags
    for kind, value in _walk(parsed):
        if str(kind) == "SUBPATTERN":
            # Flags of a part count for the whole: more texts in common, never fewer.
            flags |= value[1]
    graph = _Graph(frozenset(_sample_characters(parsed)), flags)
    graph.sequence(parsed)
    return graph.is_explosive() or any(sub.is_explosive() for sub in graph.asides)


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of an expression: where it can begin and end, each with the number of ways."""

    first: Counter[int]
    last: Counter[int]
    empty: int


@dataclass(slots=True)
class _Graph:
    """The positions of an expression (one for each character it reads), and what follows what.

    `follow[p][q]` counts the ways from p to q; two ways are two choices for the engine.
    """

    samples: frozenset[str]
    flags: int
    reads: list[frozenset[str]] = field(default_factory=list)
    follow: list[Counter[int]] = field(default_factory=list)
    asides: list[_Graph] = field(default_factory=list)

    def sequence(self, items: Iterable[Any]) -> _Part:
        whole = _Part(Counter(), Counter(), 1)
        for item in items:
            whole = self._joined(whole, self._item(*item))
        return whole

    def _position(self, reads: Iterable[str]) -> _Part:
        self.reads.append(frozenset(reads))
        self.follow.append(Counter())
        here = len(self.reads) - 1
        return _Part(Counter({here: 1}), Counter({here: 1}), 0)

    def _joined(self, one: _Part, two: _Part) -> _Part:
        self._link(one.last, two.first)
        first = one.first + _times(two.first, one.empty)
        last = two.last + _times(one.last, two.empty)
        return _Part(first, last, min(one.empty * two.empty, 2))

    def _link(self, last: Counter[int], first: Counter[int]) -> None:
        for p, ways in last.items():
            for q, more in first.items():
                # Two are as bad as a million, and do not grow out of hand.
                self.follow[p][q] = min(self.follow[p][q] + ways * more, 2)

    def _item(self, kind: Any, value: Any) -> _Part:
        name = str(kind)
        if name in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
            return self._position(c for c in self.samples if _reads(name, value, c, self.flags))
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            return self._repeat(*value)
        if name == "SUBPATTERN":
            return self.sequence(value[-1])
        if name == "BRANCH":
            parts = [self.sequence(branch) for branch in value[1]]
            first: Counter[int] = sum((part.first for part in parts), Counter())
            last: Counter[int] = sum((part.last for part in parts), Counter())
            return _Part(first, last, min(sum(part.empty for part in parts), 2))
        if name in ("ATOMIC_GROUP", "POSSESSIVE_REPEAT"):
            # The engine never comes back into these: from outside, they are one step.
            inside = _Graph(self.samples, self.flags)
            part = inside.sequence(value if name == "ATOMIC_GROUP" else value[-1])
            self.asides.append(inside)
            step = self._position(c for p in part.first for c in inside.reads[p])
            optional = part.empty > 0 or (name != "ATOMIC_GROUP" and value[0] == 0)
            return _Part(step.first, step.last, int(optional))
        if name in ("ASSERT", "ASSERT_NOT"):
            inside = _Graph(self.samples, self.flags)
            inside.sequence(value[1])
            self.asides.append(inside)
            return _Part(Counter(), Counter(), 1)
        if name == "GROUPREF_EXISTS":
            return self._item(_parser.BRANCH, (None, [value[1], value[2] or []]))
        if name == "GROUPREF":
            part = self._position(self.samples)
            return _Part(part.first, part.last, 1)
        return _Part(Counter(), Counter(), 1)

    def _repeat(self, least: int, most: int, items: Any) -> _Part:
        whole = _Part(Counter(), Counter(), 1)
        shortest, longest = items.getwidth()
        exact = least == most and shortest == longest
        if exact or most <= MAX_COPIES:
            for _ in range(min(least, MAX_EXACT_COPIES)):
                whole = self._joined(whole, self.sequence(items))
            for _ in range(0 if exact else most - least):
                part = self.sequence(items)
                whole = self._joined(whole, _Part(part.first, part.last, min(part.empty + 1, 2)))
            return whole
        for _ in range(min(least, 1)):
            whole = self._joined(whole, self.sequence(items))
        loop = self.sequence(items)
        self._link(loop.last, loop.first)
        return self._joined(whole, _Part(loop.first, loop.last, 1))

    def is_explosive(self) -> bool:
        """Whether a loop can be walked in two ways over the same text."""
        size = len(self.reads)
        for loop in _loops(range(size), lambda p: self.follow[p]):
            if len(loop) > MAX_LOOP:
                return True
            inside = set(loop)
            if any(self.follow[p][q] > 1 for p in loop for q in self.follow[p] if q in inside):
                return True
            pairs = [(p, q) for p in loop for q in loop if p <= q and self.reads[p] & self.reads[q]]
            for group in _loops(pairs, self._next_pairs):
                same = any(p == q for p, q in group)
                if same and any(p != q for p, q in group):
                    return True
        return False

    def _next_pairs(self, pair: tuple[int, int]) -> Iterator[tuple[int, int]]:
        for p in self.follow[pair[0]]:
            for q in self.follow[pair[1]]:
                if self.reads[p] & self.reads[q]:
                    yield (p, q) if p <= q else (q, p)


def _times(counter: Counter[int], ways: int) -> Counter[int]:
    return Counter({key: min(count * ways, 2) for key, count in counter.items() if ways})


def _reads(kind: str, value: Any, character: str, flags: int) -> bool:
    if kind == "ANY":
        return character != "\n" or bool(flags & re.DOTALL)
    both = {character, character.swapcase()} if flags & re.IGNORECASE else {character}
    return any(_reads_exactly(kind, value, ord(one)) for one in both if len(one) == 1)


def _reads_exactly(kind: str, value: Any, code: int) -> bool:
    if kind == "LITERAL":
        return bool(code == value)
    if kind == "NOT_LITERAL":
        return bool(code != value)
    negated = any(str(item[0]) == "NEGATE" for item in value)
    return negated != any(_in_class(str(item[0]), item[1], code) for item in value)


def _in_class(kind: str, value: Any, code: int) -> bool:
    if kind == "LITERAL":
        return bool(code == value)
    if kind == "RANGE":
        return bool(value[0] <= code <= value[1])
    if kind == "CATEGORY":
        letter = {"DIGIT": "d", "SPACE": "s", "WORD": "w"}[str(value).rsplit("_", 1)[-1]]
        letter = letter.upper() if "_NOT_" in str(value) else letter
        return re.match(f"\\{letter}", chr(code)) is not None
    return False


def _sample_characters(items: Any) -> Iterator[str]:
    """Yields characters that tell an expression's classes apart: their edges, and some others."""
    yield from _SAMPLES
    for item in _walk(items):
        kind, value = str(item[0]), item[1]
        if kind in ("LITERAL", "NOT_LITERAL"):
            yield chr(value)
        elif kind == "RANGE":
            low, high = value
            for code in (low - 1, low, high, high + 1):
                if 0 <= code <= 0x10FFFF:
                    yield chr(code)


def _walk(node: Any) -> Iterator[Any]:
    """Yields every (operator, argument) of a parsed expression."""
    if isinstance(node, _parser.SubPattern):
        node = list(node)
    if isinstance(node, list | tuple):
        if len(node) == 2 and type(node[0]).__name__ == "_NamedIntConstant":
            yield node
        for part in node:
            yield from _walk(part)


def _loops(nodes: Iterable[Any], after: Any) -> Iterator[list[Any]]:
    """Yields the strongly connected groups that hold a loop (Tarjan, without recursion)."""
    known = set(nodes)
    index: dict[Any, int] = {}
    low: dict[Any, int] = {}
    stack: list[Any] = []
    for start in known:
        if start in index:
            continue
        work = [(start, iter([n for n in after(start) if n in known]))]
        index[start] = low[start] = len(index)
        stack.append(start)
        while work:
            node, following = work[-1]
            step = next(following, None)
            if step is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    group = stack[stack.index(node) :]
                    del stack[-len(group) :]
                    low.update(dict.fromkeys(group, len(index) + len(known)))
                    if len(group) > 1 or node in after(node):
                        yield group
            elif step not in index:
                index[step] = low[step] = len(index)
                stack.append(step)
                work.append((step, iter([n for n in after(step) if n in known])))
            elif step in stack:
                low[node] = min(low[node], index[step])
