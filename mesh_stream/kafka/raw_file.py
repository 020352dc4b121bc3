"""Reads a file of JSON lines or CSV as records for a raw topic.

A JSON line is sent as it stands, byte for byte: it is parsed only to be sure that it is an object,
and for its key and time. A CSV row becomes a JSON object of strings by the header's names. Lines
that are wrong come as values, `Fault`s with their line, so that a caller can check a whole file
before it sends anything. No fault quotes a value.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, DecimalException
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

import msgspec

from mesh_stream.errors import Fault, MeshError
from mesh_stream.kafka.writer import RawRecord

MAX_LINE_BYTES = 16 * 1024 * 1024
"""What a producer of ours sends at most; also keeps a file without line ends out of memory."""
STANDARD_INPUT = Path("standard input")
_CSV, _JSON_LINES = (".csv",), (".jsonl", ".ndjson", ".json")
_BOM = b"\xef\xbb\xbf"

# A smaller number of milliseconds is before March 1973: those are seconds.
_LEAST_MILLIS = 100_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME_EXPECTED = "ISO 8601 (UTC where it names no offset) or milliseconds since the epoch"

# Numbers with a point stay as they are written: keys are the text of the file.
_parse = msgspec.json.Decoder(dict[str, Any], float_hook=str).decode


class RawFileError(MeshError):
    """A file has lines that are no records.

    Args:
        faults: Some of them, or all.
        total: How many there are.
    """

    def __init__(self, faults: Iterable[Fault], total: int) -> None:
        self.faults = tuple(faults)
        self.total = total
        lines = [str(fault) for fault in self.faults]
        if total > len(lines):
            lines.append(f"and {total - len(lines):,} more")
        super().__init__("\n".join(lines))


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is read.

    Attributes:
        key: The field whose value, as text, is the record key; None: records without a key.
        event_time: The field that is the record's timestamp; None: the time of sending.
        limit: How many records at most; None: all.
    """

    key: str | None = None
    event_time: str | None = None
    limit: int | None = None


@dataclass(slots=True)
class Checked:
    """What a file holds: how many records, how many bytes, and the times they are from and to."""

    records: int = 0
    bytes: int = 0
    oldest: int | None = None
    newest: int | None = None

    def add(self, record: RawRecord) -> None:
        """Count one more record."""
        self.records += 1
        self.bytes += len(record.value or b"")
        if record.timestamp is not None:
            self.oldest = min(record.timestamp, self.oldest or record.timestamp)
            self.newest = max(record.timestamp, self.newest or record.timestamp)


def check(file: BufferedReader, path: Path, reading: Reading, *, most: int = 20) -> Checked:
    """Read a whole file for what is wrong with it.

    Args:
        file: The file, from its beginning.
        path: Its name, for messages.
        reading: How to read it.
        most: How many faults to name.

    Raises:
        RawFileError: Some of its lines are no records.
    """
    checked, total = Checked(), 0
    faults: list[Fault] = []
    for record in read(file, path, reading):
        if isinstance(record, Fault):
            total += 1
            if len(faults) < most:
                faults.append(record)
        else:
            checked.add(record)
    if total:
        raise RawFileError(faults, total)
    return checked


def read(file: BufferedReader, path: Path, reading: Reading) -> Iterator[RawRecord | Fault]:
    """Yield each line as a record, or as what is wrong with it; blank lines are skipped.

    Args:
        file: The file, from its beginning.
        path: Its name, which may tell its format, and is named in faults.
        reading: How to read it.
    """
    lines = _csv_rows(file, path) if _is_csv(file, path) else _json_lines(file, path)
    for line in itertools.islice(lines, reading.limit):
        if isinstance(line, Fault):
            yield line
            continue
        number, value, fields = line
        try:
            key = None if reading.key is None else _key(fields, reading.key)
            time = None if reading.event_time is None else _millis(fields, reading.event_time)
        except _FieldError as wrong:
            yield Fault(path, number, wrong.field, wrong.found, wrong.expected)
        else:
            yield RawRecord(key, value, time)


_Line = tuple[int, bytes, dict[str, Any]]
"""Line number, the record's value, and its fields."""


class _FieldError(Exception):
    def __init__(self, field: str, found: str, expected: str) -> None:
        super().__init__(field)
        self.field, self.found, self.expected = field, found, expected


def _is_csv(file: BufferedReader, path: Path) -> bool:
    """By the file's name; where that says nothing, by its first character. Never from a pipe."""
    suffix = path.suffix.lower()
    if suffix in (*_CSV, *_JSON_LINES) or path == STANDARD_INPUT:
        return suffix in _CSV
    start = file.peek(1024)[:1024].removeprefix(_BOM).lstrip()
    return bool(start) and start[:1] not in b'{["'


def _numbered_lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers, from 1; one that is too long is cut off after the bound."""
    for number in itertools.count(1):
        line = file.readline(MAX_LINE_BYTES + 2)
        if not line:
            return
        yield number, line
        while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES + 2)


def _json_lines(file: IO[bytes], path: Path) -> Iterator[_Line | Fault]:
    for number, line in _numbered_lines(file):
        if number == 1:
            line = line.removeprefix(_BOM)
        line = line.strip()
        if not line:
            continue
        if len(line) > MAX_LINE_BYTES:
            found = f"a line of more than {MAX_LINE_BYTES:,} bytes"
            yield Fault(path, number, "", found, "one JSON object a line")
            continue
        try:
            yield number, line, _parse(line)
        except msgspec.ValidationError:
            found = "a JSON list" if line[:1] == b"[" else "JSON that is no object"
            remedy = "`jq -c '.[]' FILE` makes lines of a list" if line[:1] == b"[" else ""
            yield Fault(path, number, "", found, "one JSON object a line", remedy)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            remedy = "`jq -c . FILE` puts each object on one line" if line in (b"{", b"[") else ""
            found = f"no JSON ({_without_values(error)})"
            yield Fault(path, number, "", found, "one JSON object a line", remedy)


def _without_values(error: Exception) -> str:
    match error:
        case UnicodeDecodeError():
            return "it is not UTF-8"
        case RecursionError():
            return "it is nested too deep"
    return str(error)


def _csv_rows(file: IO[bytes], path: Path) -> Iterator[_Line | Fault]:
    last = 0

    def text() -> Iterator[str]:
        nonlocal last
        for number, line in _numbered_lines(file):
            last = number
            if len(line) > MAX_LINE_BYTES:
                raise csv.Error(f"a line of more than {MAX_LINE_BYTES:,} bytes")
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")

    rows = csv.reader(text(), strict=True)
    header: list[str] | None = None
    while True:
        first = last + 1
        try:
            row = next(rows, None)
        except UnicodeDecodeError:
            # The rows behind it cannot be told apart reliably: a quote may be open.
            yield Fault(path, last, "", "bytes that are not UTF-8", "a CSV file in UTF-8")
            return
        except csv.Error as error:
            yield Fault(path, first, "", f"no CSV ({error})", "a CSV file as in RFC 4180")
            return
        if row is None:
            return
        if not row:
            continue
        if header is None:
            header = row
            if fault := _header_fault(header, path, first):
                yield fault
                return
        elif len(row) != len(header):
            found, expected = f"{len(row)} fields", f"{len(header)}, as in the header"
            yield Fault(path, first, "", found, expected)
        else:
            fields = dict(zip(header, row, strict=True))
            yield first, msgspec.json.encode(fields), fields


def _header_fault(header: list[str], path: Path, number: int) -> Fault | None:
    if "" in header:
        return Fault(path, number, "", "a header with a nameless field", "a name for each field")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        found = f"a header with {', '.join(twice)} more than once"
        return Fault(path, number, "", found, "a name of its own for each field")
    return None


def _value(fields: dict[str, Any], name: str) -> Any:
    try:
        return fields[name]
    except KeyError:
        there = ", ".join(list(fields)[:12]) or "none"
        raise _FieldError(name, "nothing", f"this field; there are: {there}") from None


def _key(fields: dict[str, Any], name: str) -> bytes:
    value = _value(fields, name)
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, str | int):
        return str(value).encode()
    raise _FieldError(name, _kind(value), "text or a number, to be the record's key")


def _millis(fields: dict[str, Any], name: str) -> int:
    value = _value(fields, name)
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise _FieldError(name, _kind(value), _TIME_EXPECTED)
    text = str(value).strip()
    try:
        if _NUMBER.fullmatch(text):
            millis = int(Decimal(text))
            if abs(millis) < _LEAST_MILLIS:
                found = "a number too small for milliseconds since the epoch"
                raise _FieldError(name, found, f"{_TIME_EXPECTED}, not seconds")
        else:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            millis = (moment - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError, DecimalException) as error:
        raise _FieldError(name, "text that is no time", _TIME_EXPECTED) from error
    if not 0 <= millis <= _LATEST_MILLIS:
        raise _FieldError(name, "a time before 1970 or after 9999", _TIME_EXPECTED)
    return millis


_NUMBER = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?")
_MILLISECOND = datetime.resolution * 1000
_LATEST_MILLIS = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case dict():
            return "an object"
        case list():
            return "a list"
    return "something else"
