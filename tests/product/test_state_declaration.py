from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from mesh_stream.errors import Fault
from mesh_stream.product.declaration import ProductDocument, json_schema
from mesh_stream.product.product import Emit, Untimely
from mesh_stream.product.state_declaration import StateDeclaration, contradictions
from mesh_stream.product.validation import validated
from mesh_stream.product.yaml_source import parse_yaml
from tests.product.seed import DECLARATION, declaration, the_fault_of

PATH = Path("data_product.yaml")
FIRST = len(DECLARATION.splitlines()) + 1
HOUR = 3_600_000

EVERYTHING = """
state:
  key: sku
  window: {hopping: {size: 1_hour, advance: 10_minutes}}
  grace: 10_minutes
  emit: on_close
  late: drop
  ahead: 2_hours
  early: drop
  idle: 30_seconds
  fold: src/transformations/stock.py:fold
"""


def state(more: str) -> StateDeclaration:
    document = parse_yaml(PATH, declaration(more=more))
    found = validated(document, ProductDocument).data_product.state
    assert found is not None
    return found


def faults(more: str) -> list[Fault]:
    return list(contradictions(parse_yaml(PATH, declaration(more=more)), state(more)))


def test_everything_that_may_be_said_is_read_durations_in_milliseconds() -> None:
    said = state(EVERYTHING)

    assert said.key == "sku"
    assert said.window is not None
    assert said.window.hopping is not None
    assert (said.window.hopping.size, said.window.hopping.advance) == (HOUR, HOUR // 6)
    assert (said.grace, said.emit, said.late) == (HOUR // 6, Emit.ON_CLOSE, Untimely.DROP)
    assert (said.ahead, said.early, said.idle) == (2 * HOUR, Untimely.DROP, 30_000)
    assert said.fold == "src/transformations/stock.py:fold"
    assert faults(EVERYTHING) == []


@pytest.mark.parametrize(
    "more",
    ["state: {}", "state: {key: sku}", "state: {key: sku, ttl: 90_days, idle: 1_minute}",
     "state: {window: {tumbling: 1_hour}, emit: on_close, late: dead_letter}",
     "state: {window: {session: 30_minutes}, grace: 1_minute}",
     "state: {window: {hopping: {size: 1000_seconds, advance: 1_second}}}"],
)  # fmt: skip
def test_what_says_no_more_than_it_must_is_sound(more: str) -> None:
    assert faults(more) == []
    jsonschema.Draft202012Validator(json_schema()).validate(
        parse_yaml(PATH, declaration(more=more)).data
    )


def test_the_json_schema_accepts_everything_that_loads() -> None:
    jsonschema.Draft202012Validator(json_schema()).validate(
        parse_yaml(PATH, declaration(more=EVERYTHING)).data
    )


@pytest.mark.parametrize(
    ("said", "field", "found", "help_text"),
    [
        ("window: {slidng: 1_hour}", "window.slidng", "the unknown key 'slidng'",
         "one of tumbling, hopping, session"),
        ("window: {}", "window", "none of tumbling, hopping and session", "exactly one"),
        ("window: {tumbling: 1_hour, session: 1_hour}", "window", "tumbling and session",
         "exactly one of tumbling, hopping and session"),
        ("window: 1_hour", "window", "'1_hour'",
         "a mapping with the keys tumbling, hopping, session"),
        ("window: {hopping: 1_hour}", "window.hopping", "'1_hour'",
         "a mapping with the keys size, advance"),
        ("window: {hopping: {size: 1_hour}}", "window.hopping.advance", "nothing",
         "advance: how often one begins"),
        ("window: {tumbling: 60}", "window.tumbling", "60", "60_minutes"),
        ("window: {tumbling: 0_hours}", "window.tumbling", "'0_hours'", "a duration above zero"),
        ("window: {tumbling: 0.5_milliseconds}", "window.tumbling", "'0.5_milliseconds'",
         "whole milliseconds"),
        ("window: {tumbling: 36501_days}", "window.tumbling", "'36501_days'",
         "at most 36,500 days"),
        ("emit: on_closed", "emit", "'on_closed'", "did you mean on_close?"),
        ("late: ignore", "late", "'ignore'", "one of dead_letter, drop"),
        ("early: ignore", "early", "'ignore'", "one of dead_letter, drop"),
        ("ahead: -1_hour", "ahead", "'-1_hour'", "a duration such as 15_minutes"),
        ("key: a-b", "key", "'a-b'", "a field name"),
        ("fold: ' '", "fold", "' '", "not blank"),
        ("keys: sku", "keys", "the unknown key 'keys'", "did you mean key?"),
    ],
)  # fmt: skip
def test_what_is_not_of_its_form_says_what_would_be(
    said: str, field: str, found: str, help_text: str
) -> None:
    fault = the_fault_of(lambda: state(f"state: {{{said}}}"))

    assert (fault.line, fault.field) == (FIRST, f"data_product.state.{field}")
    assert fault.found == found
    assert help_text in f"{fault.expected} {fault.remedy}"


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("emit: on_close",
         ("emit: found on_close without a window; expected on_change, or a window: without one "
         "nothing is ever over")),
        ("grace: 1_minute",
         ("grace: found grace without a window; expected it with a window only: without one no "
         "event is late; leave grace out, or add a window")),
        ("late: drop",
         ("late: found late without a window; expected it with a window only: without one no event "
         "is late; leave late out, or add a window")),
        ("idle: 1_minute",
         ("idle: found idle with neither a window nor a ttl; expected it with either: without them "
         "no partition waits for another; leave idle out")),
        ("ttl: 90_days\n  window: {tumbling: 1_hour}",
         ("ttl: found a ttl beside a window; expected one of the two: a state is forgotten when "
         "its window is over")),
        ("window: {hopping: {size: 1_hour, advance: 61_minutes}}",
         ("window.hopping.advance: found an advance beyond the size; expected at most the size: "
         "events between two windows would be in none")),
        ("window: {hopping: {size: 1_hour, advance: 7_minutes}}",
         ("window.hopping.advance: found an advance that does not divide the size; expected a part "
         "of the size that divides it, so that each event lies in as many windows")),
        ("window: {hopping: {size: 1001_seconds, advance: 1_second}}",
         ("window.hopping.advance: found 1,001 windows for each event; expected at most 1,000: the "
         "size divided by the advance")),
    ],
)  # fmt: skip
def test_what_means_nothing_or_contradicts_itself_says_so_at_its_place(
    said: str, text: str
) -> None:
    (fault,) = faults(f"state:\n  {said}")

    assert str(fault) == f"data_product.yaml:{FIRST + 1}: data_product.state.{text}"


def test_every_contradiction_is_found_at_once() -> None:
    found = faults("state: {emit: on_close, grace: 1_minute, late: drop, idle: 1_minute}")

    assert [fault.field.rpartition(".")[2] for fault in found] == ["emit", "grace", "late", "idle"]
