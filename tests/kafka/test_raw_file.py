from __future__ import annotations

import csv
import io
import json
from io import BufferedReader, BytesIO
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh_stream.errors import Fault
from mesh_stream.kafka import raw_file
from mesh_stream.kafka.raw_file import (
    STANDARD_INPUT,
    Checked,
    RawFileError,
    Reading,
    check,
    read,
)
from mesh_stream.kafka.writer import RawRecord

JSONL, CSV = Path("orders.jsonl"), Path("orders.csv")


def reader(content: bytes) -> BufferedReader:
    return BufferedReader(BytesIO(content))


def lines(
    content: bytes, path: Path = JSONL, reading: Reading | None = None
) -> list[RawRecord | Fault]:
    return list(read(reader(content), path, reading or Reading()))


def records(content: bytes, path: Path = JSONL, reading: Reading | None = None) -> list[RawRecord]:
    found = lines(content, path, reading)
    assert [one for one in found if isinstance(one, Fault)] == []
    return [one for one in found if isinstance(one, RawRecord)]


def fault(content: bytes, path: Path = JSONL, reading: Reading | None = None) -> str:
    (only,) = [one for one in lines(content, path, reading) if isinstance(one, Fault)]
    return str(only)


# JSON lines


def test_a_json_line_is_sent_byte_for_byte() -> None:
    odd = b'{ "a":1.10, "b" : "caf\xc3\xa9", "a":2e2}'
    assert records(odd + b"\n") == [RawRecord(None, odd, None)]


def test_blank_lines_carriage_returns_and_a_byte_order_mark_are_no_content() -> None:
    content = b'\xef\xbb\xbf{"a":1}\r\n\n  \n{"a":2}'
    assert [one.value for one in records(content)] == [b'{"a":1}', b'{"a":2}']


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b'{"a":', "found no JSON (Input data was truncated)"),
        (b"oops", "found no JSON"),
        (b'{"a":"\xff"}', "found no JSON"),
        (b"[1]", "found a JSON list; expected one JSON object a line; `jq -c '.[]' FILE`"),
        (b"7", "found JSON that is no object"),
        (b"{", "`jq -c . FILE` puts each object on one line"),
        (b'{"a":' * 2_000 + b"1" + b"}" * 2_000, "nested too deep"),
    ],
)
def test_a_line_that_is_no_object_is_named_with_its_line(line: bytes, complaint: str) -> None:
    found = fault(b'{"a":1}\n\n' + line + b'\n{"a":2}\n')
    assert found.startswith("orders.jsonl:3: ")
    assert complaint in found


def test_a_line_beyond_what_a_producer_sends_is_refused_and_the_next_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(raw_file, "MAX_LINE_BYTES", 100)
    exact, longer = b'{"a":"' + b"x" * 92 + b'"}', b'{"a":"' + b"x" * 350 + b'"}'
    assert len(exact) == 100
    found = lines(exact + b"\n" + longer + b'\n{"a":2}')
    assert [type(one) for one in found] == [RawRecord, Fault, RawRecord]
    assert str(found[1]).startswith("orders.jsonl:2: found a line of more than 100 bytes")


@settings(max_examples=300)
@given(content=st.binary(max_size=200))
def test_any_bytes_become_records_and_faults_and_no_exception(content: bytes) -> None:
    for path in (JSONL, CSV, Path("orders"), STANDARD_INPUT):
        for one in lines(content, path, Reading(key="a", event_time="b")):
            assert isinstance(one, RawRecord | Fault)


# CSV


def test_a_csv_row_becomes_an_object_of_strings() -> None:
    content = b'\xef\xbb\xbfid,name,price\r\n1,"a ""b"",\nc",2.50\r\n2,,\r\n'
    assert [json.loads(one.value or b"") for one in records(content, CSV)] == [
        {"id": "1", "name": 'a "b",\nc', "price": "2.50"},
        {"id": "2", "name": "", "price": ""},
    ]


_cell = st.text(st.characters(blacklist_categories=["Cs"]), max_size=8)


@settings(max_examples=200)
@given(rows=st.lists(st.tuples(_cell, _cell, _cell), max_size=8))
def test_whatever_a_csv_writer_writes_is_read_back(rows: list[tuple[str, str, str]]) -> None:
    content = io.StringIO(newline="")
    csv.writer(content).writerows([("x", "y", "z"), *rows])
    values = [one.value for one in records(content.getvalue().encode(), CSV)]
    assert values == [msgspec.json.encode(dict(zip("xyz", row, strict=True))) for row in rows]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"a,b\n1,2\n1,2,3\n", "orders.csv:3: found 3 fields; expected 2, as in the header"),
        (b'a,b\n"1\n1",2\n1\n', "orders.csv:4: found 1 fields; expected 2, as in the header"),
        (b'a,b\n1,2\n"1,2\n', "orders.csv:3: found no CSV (unexpected end of data)"),
        (b"a,b\n1,2\n\xff,2\n", "orders.csv:3: found bytes that are not UTF-8"),
        (b"a,a\n1,2\n", "orders.csv:1: found a header with a more than once"),
        (b"a,\n1,2\n", "orders.csv:1: found a header with a nameless field"),
    ],
)
def test_a_wrong_csv_row_is_named_with_its_line(content: bytes, complaint: str) -> None:
    assert fault(content, CSV).startswith(complaint)


def test_a_csv_line_that_is_too_long_is_not_cut_into_a_wrong_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(raw_file, "MAX_LINE_BYTES", 50)
    assert "more than 50 bytes" in fault(b"a,b\n1,2\n" + b"x" * 60 + b",2\n", CSV)


# Which of the two


@pytest.mark.parametrize(
    ("path", "content", "is_csv"),
    [
        ("orders.CSV", b'{"a"\n1\n', True),
        ("orders.ndjson", b"a,b\n", False),
        ("orders.json", b"a,b\n", False),
        ("orders", b"a,b\n1,2\n", True),
        ("orders.txt", b'\n\xef\xbb\xbf {"a":1}', True),
        ("orders.txt", b'\xef\xbb\xbf\n {"a":1}', False),
        ("orders", b"[1]", False),
        ("orders", b"", False),
        ("standard input", b"a,b\n1,2\n", False),
    ],
)
def test_the_suffix_tells_the_format_and_else_the_content(
    path: str, content: bytes, is_csv: bool
) -> None:
    assert raw_file._is_csv(reader(content), Path(path)) is is_csv


# Keys


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('"ord_1"', b"ord_1"),
        ('"caf\\u00e9"', "café".encode()),
        ('""', b""),
        ("17850.0", b"17850.0"),
        ("1e3", b"1e3"),
        ("12345678901234567890", b"12345678901234567890"),
        ("true", b"true"),
    ],
)
def test_a_key_is_the_field_s_text_as_the_file_has_it(text: str, key: bytes) -> None:
    (record,) = records(f'{{"id":{text}}}'.encode(), reading=Reading(key="id"))
    assert record.key == key


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b'{"id":null}', "orders.jsonl:1: id: found null; expected text or a number"),
        (b'{"id":{"a":1}}', "orders.jsonl:1: id: found an object; expected text or a number"),
        (b'{"id":[]}', "orders.jsonl:1: id: found a list; expected text or a number"),
        (
            b'{"Id":1,"b":2}',
            "orders.jsonl:1: id: found nothing; expected this field; there are: Id",
        ),
        (b"{}", "orders.jsonl:1: id: found nothing; expected this field; there are: none"),
    ],
)
def test_a_key_that_is_not_there_is_a_fault(line: bytes, complaint: str) -> None:
    assert fault(line, reading=Reading(key="id")).startswith(complaint)


# Times


@pytest.mark.parametrize(
    ("text", "millis"),
    [
        ("1291191960000", 1_291_191_960_000),
        ('"1291191960000"', 1_291_191_960_000),
        ("1291191960000.75", 1_291_191_960_000),
        ("1.29119196e12", 1_291_191_960_000),
        ('"2010-12-01T08:26:00Z"', 1_291_191_960_000),
        ('"2010-12-01T10:26:00+02:00"', 1_291_191_960_000),
        ('"2010-12-01 08:26:00"', 1_291_191_960_000),
        ('"2010-12-01T08:26:00.123456789Z"', 1_291_191_960_123),
        ('"2010-12-01"', 1_291_161_600_000),
    ],
)
def test_a_time_is_iso_8601_or_milliseconds_and_utc_without_an_offset(
    text: str, millis: int
) -> None:
    (record,) = records(f'{{"at":{text}}}'.encode(), reading=Reading(event_time="at"))
    assert record.timestamp == millis


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1291191960", "found a number too small for milliseconds since the epoch"),
        ('"yesterday"', "found text that is no time"),
        ('""', "found text that is no time"),
        ("1e99", "found a time before 1970 or after 9999"),
        ('"1969-12-31T23:59:59Z"', "found a time before 1970 or after 9999"),
        ("-1291191960000", "found a time before 1970 or after 9999"),
        ("null", "found null"),
        ("true", "found true or false"),
        ("{}", "found an object"),
    ],
)
def test_what_is_no_time_is_a_fault_without_its_value(text: str, complaint: str) -> None:
    found = fault(f'{{"at":{text}}}'.encode(), reading=Reading(event_time="at"))
    assert found.startswith(f"orders.jsonl:1: at: {complaint}; expected ")
    assert "1291191960" not in found
    assert "yesterday" not in found


def test_csv_has_keys_and_times_too() -> None:
    reading = Reading(key="id", event_time="at")
    (record,) = records(b"id,at\n7,2010-12-01 08:26:00\n", CSV, reading)
    assert (record.key, record.timestamp) == (b"7", 1_291_191_960_000)


# Checking


def test_checking_tells_how_much_and_from_when_to_when() -> None:
    content = b'{"at":1291191960000}\n{"at":1291191950000}\n{"at":1291191970000}\n'
    checked = check(reader(content), JSONL, Reading(event_time="at"))
    assert checked == Checked(3, 60, 1_291_191_950_000, 1_291_191_970_000)


def test_checking_names_the_first_faults_and_counts_the_rest() -> None:
    content = b"\n".join([b'{"a":1}', *(b"oops" for _ in range(25))])
    with pytest.raises(RawFileError) as raised:
        check(reader(content), JSONL, Reading(), most=3)
    assert raised.value.total == 25
    assert raised.value.exit_code == 1
    named = str(raised.value).splitlines()
    assert [line.partition(" ")[0] for line in named[:3]] == [
        f"orders.jsonl:{number}:" for number in (2, 3, 4)
    ]
    assert named[3:] == ["and 22 more"]


def test_a_limit_leaves_the_rest_unread() -> None:
    content = b'{"a":1}\n{"a":2}\noops\n'
    assert check(reader(content), JSONL, Reading(limit=2)).records == 2
