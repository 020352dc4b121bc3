from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.errors import DeclarationError
from mesh_stream.product.yaml_source import (
    MAX_BYTES,
    MAX_DEPTH,
    Document,
    dotted,
    parse_yaml,
    plain_scalar,
    read_yaml,
    shown,
)
from tests.product.seed import DECLARATION, faults_of, the_fault_of

PATH = Path("p.yaml")


def parse(text: str) -> Document:
    return parse_yaml(PATH, text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("off", "off"),
        ("1_000", "1_000"),
        ("2026-01-31", "2026-01-31"),
        ("12:30:00", "12:30:00"),
        ("007", "007"),
        ("0x10", "0x10"),
        ("0o17", "0o17"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("1e999", "1e999"),
        ("99.9%", "99.9%"),
        ("=", "="),
        ("<<", "<<"),
    ],
)
def test_what_other_readers_turn_into_something_else_stays_text(text: str, value: str) -> None:
    assert value == parse(f"a: {text}").data["a"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-17", -17),
        ("+3", 3),
        ("1.5", 1.5),
        (".5", 0.5),
        ("-1e3", -1000.0),
        ("5.", 5.0),
    ],
)
def test_plain_scalars_follow_the_core_schema(text: str, value: object) -> None:
    found = parse(f"a: {text}").data["a"]

    assert (value, type(value)) == (found, type(found))


@pytest.mark.parametrize("text", ["'1'", '"1"', "'true'", '"null"', "''"])
def test_quoted_scalars_are_text(text: str) -> None:
    assert text[1:-1] == parse(f"a: {text}").data["a"]


def test_a_number_too_long_for_an_int_stays_text() -> None:
    assert plain_scalar("9" * 5000) == "9" * 5000


def test_keys_are_text_whatever_they_look_like() -> None:
    assert parse("{on: 1, 1: 2, null: 3, true: 4}").data == {"on": 1, "1": 2, "null": 3, "true": 4}


def test_lines_are_known_for_every_part() -> None:
    document = parse("a:\n  b:\n    - 1\n    - c: 2\n")

    assert document.line(["a"]) == 1
    assert document.line(["a", "b", 0]) == 3
    assert document.line(["a", "b", 1, "c"]) == 4


def test_the_line_of_what_is_missing_is_that_of_what_is_around_it() -> None:
    document = parse("x: 1\na:\n  b: 2\n")

    assert document.line(["a", "missing", "deeper"]) == 2
    assert document.line(["missing"]) == 1


def test_a_duplicate_key_names_both_lines() -> None:
    fault = the_fault_of(lambda: parse("a:\n  b: 1\n  c: 2\n  b: 3\n"))

    assert (fault.line, fault.field) == (4, "a")
    assert fault.found == "the key 'b' again"
    assert "first on line 2" in fault.expected


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: &x 1", "the anchor &x"),
        ("a: *x", "the alias *x"),
        ("a: !!python/object/apply:os.system [ls]", "os.system"),
        ("a: !custom 1", "the tag !custom"),
        ("a: !!str 1", "the tag"),
        ("a: 1\n---\nb: 2", "a second document"),
        ("{[a]: 1}", "a mapping or list as a key"),
        ("a: [1, 2", "broken YAML"),
        ("a: b: c", "broken YAML"),
        ("\ta: 1", "broken YAML"),
        ("a: \x07", "the character U+0007"),
        ('a: "\\ud800"', "half of a surrogate pair"),
        ('{"\\udc00": 1}', "half of a surrogate pair"),
        ("", "an empty file"),
        ("# only a comment\n", "an empty file"),
        ("%YAML 9.9\n---\na: 1", "broken YAML"),
    ],
)
def test_more_than_plain_data_is_refused(text: str, found: str) -> None:
    assert any(found in fault.found for fault in faults_of(lambda: parse(text)))


def test_an_alias_bomb_is_refused_before_it_grows() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for one, two in zip("abcdefgh", "bcdefghi", strict=True):
        bomb += f"{two}: &{two} [{', '.join([f'*{one}'] * 9)}]\n"

    found = {fault.found for fault in faults_of(lambda: parse(bomb))}

    assert "the alias *a" in found


def test_every_structural_fault_is_found_at_once() -> None:
    faults = faults_of(lambda: parse("a: &x 1\nb: *x\na: 2\nc: !t 3\n"))

    assert [fault.line for fault in faults] == [1, 2, 3, 4]


def test_nesting_is_bounded_and_does_not_exhaust_the_stack() -> None:
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH).data
    fault = the_fault_of(lambda: parse("[" * 50_000 + "]" * 50_000))
    assert f"more than {MAX_DEPTH} levels" == fault.found


def test_a_file_over_the_bound_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_text("a: " + "x" * MAX_BYTES)

    assert the_fault_of(lambda: read_yaml(path)).found == "more than 1,000,000 bytes"


def test_a_file_that_is_not_utf_8_names_line_and_byte(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("a: 1\nb: café\n".encode("latin-1"))

    fault = the_fault_of(lambda: read_yaml(path))

    assert (path, 2) == (fault.path, fault.line)
    assert "byte 0xe9" in fault.found


def test_a_byte_order_mark_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")

    assert read_yaml(path).data == {"a": 1}


@pytest.mark.parametrize("make", ["missing", "folder"])
def test_what_is_no_file_is_a_fault(tmp_path: Path, make: str) -> None:
    path = tmp_path / make
    if make == "folder":
        path.mkdir()

    fault = the_fault_of(lambda: read_yaml(path))

    assert (path, 0) == (fault.path, fault.line)
    assert fault.found in ("no such file or directory", "is a directory")


def test_the_seed_is_read_as_written() -> None:
    data = parse(DECLARATION).data["data_product"]

    assert data["sla"] == {"freshness": "15_minutes", "availability": "99.9%"}
    assert data["schema"][0] == {"order_id": "string"}


def test_places_are_written_as_people_write_them() -> None:
    assert dotted(("data_product", "inputs", 0, "topic")) == "data_product.inputs[0].topic"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "nothing"), (True, "true"), ({}, "a mapping"), ([], "a list"), ("x", "'x'"), (3, "3")],
)
def test_values_are_shown_shortly(value: object, text: str) -> None:
    assert text == shown(value)


def test_a_long_value_is_cut() -> None:
    assert len(shown("x" * 1000)) <= 80


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(min_size=1, max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JSON)
def test_json_is_read_as_what_it_says(value: Any) -> None:
    # JSON is YAML, except for control characters, which YAML wants escaped: dumps escapes them.
    assert value == parse(json.dumps({"v": value})).data["v"]


@given(st.text(max_size=60) | st.text(alphabet="ab:-[]{}&*!|>'\"\n #?%@`,~", max_size=60))
def test_any_text_is_data_or_a_declaration_error(text: str) -> None:
    with contextlib.suppress(DeclarationError):
        json.dumps(parse(text).data)
