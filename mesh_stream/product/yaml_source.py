"""Reads one YAML file into plain data that knows its lines.

Declarations come from many hands and become topic names, paths and code: so only plain data is
read. Anchors, aliases, tags, duplicate keys and several documents are faults, size and depth are
bounded. Scalars follow the YAML 1.2 core schema, in which `no`, `on`, `2024-01-31` and `1_000` are
text: the YAML 1.1 of most Python tools makes booleans, dates and numbers of them. Keys are always
text. A leading zero (`007`) is text as well, since the two versions disagree on its value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mesh_stream.errors import DeclarationError, Fault

MAX_BYTES = 1_000_000
MAX_DEPTH = 32

Where = Sequence[str | int]
"""Where in a document: keys and list positions from the root."""

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
# No leading zeros, no underscores, no base 60. The digits are bounded as Python's own int() is.
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,99})")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Document:
    """One file's data, and the line on which each part of it begins.

    Attributes:
        path: The file, as the user named it.
        data: What it says, as dict, list, str, int, float, bool and None.
        lines: Path from the root -> line, counted from 1.
    """

    path: Path
    data: Any
    lines: Mapping[tuple[str | int, ...], int]

    def line(self, where: Where) -> int:
        """Returns the line of `where`, or of the closest part around it that the file has."""
        place = tuple(where)
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 0)

    def fault(self, where: Where, found: str, expected: str, remedy: str = "") -> Fault:
        """Returns a fault of this document at `where`."""
        return Fault(self.path, self.line(where), dotted(where), found, expected, remedy)


def dotted(where: Where) -> str:
    """Writes a place as people do: `data_product.inputs[0].topic`."""
    text = ""
    for step in where:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def shown(value: object) -> str:
    """Writes a declared value for a message: quoted, and cut where it is long."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]}...'"


def read_yaml(path: Path) -> Document:
    """Reads one file.

    Raises:
        DeclarationError: The file cannot be read, or is more than plain data.
    """
    return parse_yaml(path, read_text(path))


def read_text(path: Path) -> str:
    """Reads one declaration file as UTF-8, a byte order mark allowed.

    Raises:
        DeclarationError: It is missing, too large, or not UTF-8.
    """
    try:
        # One byte more than allowed is enough to know, and bounds what is read.
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as cause:
        reason = (cause.strerror or str(cause)).lower()
        raise DeclarationError([Fault(path, 0, "", reason, "a readable file")]) from cause
    if len(raw) > MAX_BYTES:
        found = f"more than {MAX_BYTES:,} bytes"
        raise DeclarationError([Fault(path, 0, "", found, f"at most {MAX_BYTES:,} bytes")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        line = raw.count(b"\n", 0, cause.start) + 1
        found = f"byte 0x{raw[cause.start]:02x}, which is not UTF-8"
        fault = Fault(path, line, "", found, "UTF-8 text", "save the file as UTF-8")
        raise DeclarationError([fault]) from cause


def parse_yaml(path: Path, text: str) -> Document:
    """Reads YAML text as if it stood in `path`.

    Raises:
        DeclarationError: The text is not YAML, or more than plain data.
    """
    builder = _Builder(path)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.take(event)
            if builder.too_deep:
                # Not read on: the scanner takes minutes over a few thousand open brackets.
                break
    except yaml.MarkedYAMLError as cause:
        mark = cause.problem_mark or cause.context_mark
        line = mark.line + 1 if mark else 0
        problem = cause.problem or cause.context or "something unreadable"
        builder.faults.append(Fault(path, line, "", f"broken YAML ({problem})", "well-formed YAML"))
    except yaml.reader.ReaderError as cause:
        line = text.count("\n", 0, cause.position) + 1
        found = f"the character U+{cause.character:04X}"
        builder.faults.append(Fault(path, line, "", found, "printable text"))
    if builder.faults:
        raise DeclarationError(builder.faults)
    if builder.documents == 0:
        raise DeclarationError([Fault(path, 0, "", "an empty file", "one YAML document")])
    return Document(path, builder.root, builder.lines)


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being read."""

    place: tuple[str | int, ...]
    data: dict[str, Any] | list[Any]
    key: str | None = None


@dataclass(slots=True)
class _Builder:
    """Turns parser events into data, iteratively: no depth of nesting can exhaust the stack."""

    path: Path
    root: Any = None
    documents: int = 0
    too_deep: bool = False
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    _open: list[_Open] = field(default_factory=list)
    _skipped: int = 0

    def take(self, event: yaml.Event) -> None:
        """Takes the parser's next event."""
        assert event.start_mark is not None
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents == 2:
                self._fault(line, "a second document", "one document", "split the file")
        elif isinstance(event, yaml.AliasEvent):
            self._fault(line, f"the alias *{event.anchor}", "plain data", "write the value out")
            self._place(None, line)
        elif isinstance(event, yaml.ScalarEvent):
            self._check_node(event, line)
            self._scalar(event, line)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._check_node(event, line)
            self._start({} if isinstance(event, yaml.MappingStartEvent) else [], line)
        elif isinstance(event, yaml.CollectionEndEvent):
            if self._skipped:
                self._skipped -= 1
            else:
                self._open.pop()

    def _fault(self, line: int, found: str, expected: str, remedy: str = "") -> None:
        where = dotted(self._open[-1].place) if self._open else ""
        self.faults.append(Fault(self.path, line, where, found, expected, remedy))

    def _check_node(self, event: yaml.NodeEvent, line: int) -> None:
        if event.anchor is not None:
            self._fault(line, f"the anchor &{event.anchor}", "plain data", "write the value out")
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._fault(line, f"the tag {tag}", "plain data", "leave the tag out")

    def _start(self, data: dict[str, Any] | list[Any], line: int) -> None:
        if len(self._open) + self._skipped >= MAX_DEPTH:
            self.too_deep = True
            self._fault(line, f"more than {MAX_DEPTH} levels", f"at most {MAX_DEPTH} levels")
            return
        if self._skipped:
            self._skipped += 1
            return
        place = self._place(data, line)
        if place is None:
            self._skipped += 1
        else:
            self._open.append(_Open(place, data))

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        if self._skipped:
            return
        value = event.value
        try:
            # An escaped pair of surrogates is one character; half of one is none.
            value = value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._fault(line, "half of a surrogate pair", "printable text")
        top = self._open[-1] if self._open else None
        if top is not None and isinstance(top.data, dict) and top.key is None:
            self._key(top, value, line)
            return
        plain = event.style is None and event.tag is None
        self._place(plain_scalar(value) if plain else value, line)

    def _key(self, top: _Open, key: str, line: int) -> None:
        if key in top.data:
            first = self.lines[(*top.place, key)]
            found = f"the key {key!r} again"
            self._fault(line, found, f"each key once (first on line {first})", "remove one of them")
        else:
            self.lines[(*top.place, key)] = line
        top.key = key

    def _place(self, value: Any, line: int) -> tuple[str | int, ...] | None:
        """Puts a value where it belongs; returns its place, or None where a key was expected."""
        if self._skipped:
            return None
        if not self._open:
            if self.documents == 1:
                self.root = value
                self.lines[()] = line
            return ()
        top = self._open[-1]
        if isinstance(top.data, list):
            place = (*top.place, len(top.data))
            top.data.append(value)
            self.lines[place] = line
            return place
        if top.key is None:
            self._fault(line, "a mapping or list as a key", "text as a key")
            top.key = ""
            return None
        place = (*top.place, top.key)
        top.data[top.key] = value
        top.key = None
        return place


def plain_scalar(text: str) -> str | int | float | bool | None:
    """Resolves an unquoted scalar by the YAML 1.2 core schema; see the module for what is text."""
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text
