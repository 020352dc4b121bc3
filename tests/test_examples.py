"""Examples beside a product: what they prove, and what is wrong with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from mesh_stream import DependencyError, filtered
from mesh_stream.errors import DeclarationError
from mesh_stream.examples import differences, examine
from mesh_stream.product.loader import load_mesh
from mesh_stream.product.product import Action, Between, Format, InSet, NotNull, Product, Rule
from tests.pipeline.making import contract, decimal, port, product, transformation

ROOT = Path(__file__).parents[1]


def apply(record: dict[str, Any]) -> Any:
    match record.get("do"):
        case "leave":
            return filtered("left")
        case "raise":
            raise ValueError("no")
        case "wait":
            raise DependencyError("down")
        case _:
            return {"id": record.get("id"), "amount": record.get("amount")}


RULES = (
    Rule("there", NotNull(), "id"),
    Rule("small", Between(None, 100), "amount", Action.WARN),
    Rule("known", InSet(("a", "b", "halt")), "id"),
    Rule("usual", InSet(("halt",), negated=True), "id", Action.FAIL),
)
PRODUCT = product(
    contract(id="string", amount=["null", decimal(9, 2)]),
    port(transformation(apply)),
    port(transformation(apply), topic="raw.refunds"),
    rules=RULES,
)

Write = Callable[..., Product]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """The product, with example files beside it."""

    def written(*texts: str, made: Product = PRODUCT) -> Product:
        (tmp_path / "tests").mkdir(exist_ok=True)
        for number, text in enumerate(texts):
            (tmp_path / "tests" / f"examples{number}.yaml").write_text(text)
        return dataclasses.replace(made, folder=tmp_path)

    return written


def found(made: Product) -> list[str]:
    return [text for verdict in examine(made).verdicts for text in verdict.differences]


HOLDING = """
- name: a fact
  given: {id: a, amount: 1.50}
  facts: [{id: a, amount: 1.5}]
- name: two records, two facts, in order
  given: [{id: a}, {id: b, amount: 2}]
  facts: [{id: a, amount: null}, {id: b, amount: 2}]
- name: left out, and why
  given: {do: leave}
  filtered: left
- name: as many as are left out
  given: [{do: leave}, null, {do: leave}]
  filtered: {left: 2, tombstone: 1}
- name: raw text that is no record
  given: '{"id": '
  rejected: {class: payload, rule: malformed}
- name: one after the other
  given: [{do: raise}, {amount: 1}, {id: z}]
  rejected:
    - {class: code, rule: transformation}
    - {class: contract, rule: there}
    - {class: contract, rule: known}
- name: a rule that only warns
  given: {id: a, amount: 101}
  facts: [{id: a, amount: 101}]
  tolerated: small
- name: a rule that halts
  given: {id: halt}
  halted: usual
- name: from another input, with all that a record has
  given: {id: a}
  topic: raw.refunds
  key: k
  headers: {h: "1"}
  timestamp: 77
  facts: [{id: a, amount: null}]
"""


def test_an_example_holds_if_its_records_become_all_it_says(write: Write) -> None:
    examined = examine(write(HOLDING))

    assert [verdict.differences for verdict in examined.verdicts] == [()] * 9
    assert [verdict.line for verdict in examined.verdicts][:3] == [2, 5, 8]
    assert examined.verdicts[0].name == "a fact"
    assert examined.unproven == ()


def test_all_files_are_read_in_order(write: Write) -> None:
    one = "- {name: first, given: {id: a}, facts: [{id: a, amount: null}]}"
    other = "- {name: second, given: {do: leave}, filtered: left}"

    assert [verdict.name for verdict in examine(write(one, other)).verdicts] == ["first", "second"]


def test_without_a_file_nothing_is_proven(write: Write) -> None:
    examined = examine(write())

    assert examined.verdicts == ()
    assert [rule.name for rule in examined.unproven] == ["there", "known", "usual"]


@pytest.mark.parametrize(
    ("example", "said"),
    [
        (
            "given: {id: a, amount: 1}, facts: [{id: b, amount: 2}]",
            ['facts[0].id: expected "b", found "a"', 'facts[0].amount: expected 2, found 1.00'],
        ),
        (
            "given: {id: a}, facts: []",
            ['facts[0]: expected nothing more, found {"id":"a","amount":null}'],
        ),
        (
            "given: {do: leave}, facts: [{id: a}]",
            [
                'facts[0]: expected {"id":"a"}, found nothing more',
                "filtered.left: expected 0, found 1",
            ],
        ),
        ("given: {id: a}, facts: [{id: a}]", ["facts[0].amount: expected no such field"]),
        (
            "given: {id: a}, facts: [{id: a, amount: null, b: 1}]",
            ["facts[0].b: found no such field"],
        ),
        (
            "given: {do: leave}, filtered: gone",
            ["filtered.gone: expected 1, found 0", "filtered.left: expected 0, found 1"],
        ),
        (
            "given: {}, rejected: {class: payload, rule: there}",
            ["rejected[0]: expected payload there, found contract there (breaks the quality rule"],
        ),
        (
            "given: {do: raise}, facts: []",
            ["rejected[0]: expected nothing, found code transformation (ValueError raised at"],
        ),
        (
            "given: {id: a}, rejected: {class: contract, rule: there}",
            [
                'facts[0]: expected nothing more, found {"id":"a","amount":null}',
                "rejected[0]: expected contract there, found nothing",
            ],
        ),
        (
            "given: {id: a, amount: 101}, facts: [{id: a, amount: 101}]",
            ["tolerated.small: expected 0, found 1"],
        ),
        ("given: {id: halt}, facts: []", ["halted: expected not, found usual"]),
        (
            "given: {id: a}, halted: usual",
            ["facts[0]: expected nothing more", "halted: expected usual, found not"],
        ),
        ("given: {do: wait}, facts: []", ["DependencyError: down"]),
    ],
)  # fmt: skip
def test_what_does_not_hold_is_said_place_by_place(
    write: Write, example: str, said: list[str]
) -> None:
    differing = found(write(f"- {{name: x, {example}}}"))

    assert len(differing) == len(said), differing
    for difference, expected in zip(differing, said, strict=True):
        assert difference.startswith(expected)


def test_an_input_whose_records_cannot_be_written_as_data_says_so(write: Write) -> None:
    made = product(PRODUCT.contract, port(transformation(apply), form=Format.AVRO))

    (difference,) = found(write("- {name: x, given: {id: a}, facts: []}", made=made))

    assert difference.startswith("ValueError: the input raw.orders declares no schema")


# Time


MESH = load_mesh(ROOT / "products")
REMEMBERS = MESH.products["users-active"]
NINE = """
- name: an hour
  given: {user_id: cust_1, occurred_at: "2026-03-01T09:30:00Z"}
  advance: "2026-03-01T%sZ"
  then: [{user_id: cust_1, occurred_at: "2026-03-01T09:10:00Z"}, null]
  facts:
    - user_id: cust_1
      window_start: "2026-03-01T09:00:00Z"
      window_end: "2026-03-01T10:00:00Z"
      first_seen: "2026-03-01T09:30:00Z"
      last_seen: "2026-03-01T09:30:00Z"
      events: 1
  filtered: {late: 1, tombstone: 1}
"""


def test_time_passes_between_what_is_given_and_what_comes_then(write: Write) -> None:
    assert found(write(NINE % "11:00:00", made=REMEMBERS)) == []

    assert [text.split(":")[0] for text in found(write(NINE % "10:59:59", made=REMEMBERS))] == [
        "facts[1]",
        "filtered.late",
    ]


def test_a_tombstone_may_come_then(write: Write) -> None:
    text = """
- name: x
  given: {do: leave}
  advance: "2026-03-01T09:00:00Z"
  then: null
  filtered: {anonymous: 1, tombstone: 1}
"""
    made = write(
        text.replace("{do: leave}", '{occurred_at: "2026-03-01T09:00:00Z"}'), made=REMEMBERS
    )

    assert found(made) == []


def test_time_does_not_pass_for_a_product_that_takes_no_notice(write: Write) -> None:
    text = '- {name: x, given: {do: leave}, advance: "2026-03-01T09:00:00Z", filtered: left}'

    assert found(write(text)) == [
        "ValueError: orders-tested has no state, and takes no notice of time"
    ]


# Which rules are proven


def test_a_rule_is_proven_by_an_example_that_it_alone_stops(write: Write) -> None:
    both = "- {name: breaks two rules, given: {}, rejected: {class: contract, rule: there}}"
    alone = "- {name: breaks one, given: {id: z}, rejected: {class: contract, rule: known}}"
    halts = "- {name: halts, given: {id: halt}, halted: usual}"

    def unproven(*texts: str) -> list[str]:
        return [rule.name for rule in examine(write(*texts)).unproven]

    assert unproven("[]", "[]", "[]") == ["there", "known", "usual"]
    assert unproven(alone, "[]", "[]") == ["there", "usual"]
    assert unproven(alone, halts, "[]") == ["there"]
    # Without `there`, the contract refuses the same record for another reason: that is noticed.
    assert unproven(both, halts, alone) == []


def test_a_rule_that_another_one_covers_is_not_proven(write: Write) -> None:
    twice = (*RULES, Rule("known_again", InSet(("a", "b", "halt")), "id"))
    made = dataclasses.replace(PRODUCT, rules=twice)
    text = "- {name: x, given: {id: z}, rejected: {class: contract, rule: known}}"

    examined = examine(write(text, made=made))

    assert examined.verdicts[0].differences == ()
    assert "known_again" in [rule.name for rule in examined.unproven]


def test_an_example_that_does_not_hold_proves_nothing(write: Write) -> None:
    wrong = "- {name: x, given: {id: z}, rejected: {class: contract, rule: there}}"

    assert len(examine(write(wrong)).unproven) == 3


# What is wrong with a file


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name: x", ":1: found a mapping; expected a list of examples"),
        ("7", ":1: found no list; expected a list of examples"),
        ("- 7", ":1: examples[0]: found 7; expected a mapping with the keys name, given"),
        ("- name: x\n  given: {}", ":1: examples[0]: found none; expected at least one of facts"),
        ("- name: x\n  facts: []", ":1: examples[0].given: found nothing"),
        ("- given: 1\n  facts: []", ":1: examples[0].name: found nothing"),
        ("- name: x\n  given: 1\n  fact: []", ":3: examples[0].fact: found the unknown key 'fact'"),
        ("- name: x\n  given: 1\n  facts: {}", ":3: examples[0].facts: found a mapping"),
        ("- name: x\n  given: 1\n  filtered: {a: 0}", ":3: examples[0].filtered.a: found 0"),
        ("- name: x\n  given: 1\n  filtered: [a]", ":3: examples[0].filtered: found a list"),
        ("- name: x\n  given: 1\n  rejected: there", ":3: examples[0].rejected: found 'there'"),
        (
            "- name: x\n  given: 1\n  rejected: {class: poison, rule: x}",
            ":3: examples[0].rejected[0].class: found 'poison'; expected one of payload, contract",
        ),
        (
            "- name: x\n  given: 1\n  facts: []\n  topic: raw.x",
            ":4: examples[0].topic: found 'raw.x'; expected one of raw.orders, raw.refunds",
        ),
        (
            "- name: x\n  given: 1\n  facts: []\n  advance: 2026-03-01T09:00:00",
            ":4: examples[0].advance: found '2026-03-01T09:00:00'; expected a moment with its",
        ),
        (
            "- name: x\n  given: 1\n  facts: []\n  advance: noon",
            "expected a moment with its time zone",
        ),
        (
            "- name: x\n  given: 1\n  facts: []\n  advance: 7",
            "expected a moment with its time zone",
        ),
        (
            "- name: x\n  given: 1\n  facts: []\n  then: 1",
            ":1: examples[0]: found then without advance; expected both",
        ),
        ("- {name: x, given: &a 1, facts: []}", ":1:"),
        ("- name: x\n  name: y", ":2:"),
        ("- [", "broken YAML"),
    ],
)
def test_a_fault_of_an_example_file_has_its_place(write: Write, text: str, fault: str) -> None:
    made = write(text, "also: wrong")

    with pytest.raises(DeclarationError) as caught:
        examine(made)

    said = [str(one).replace(str(made.folder), "") for one in caught.value.faults]
    assert any(fault in one for one in said), said
    assert any("examples1.yaml" in one for one in said), "faults of every file at once"


# What means what


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (1.5, Decimal("1.50")),
        ("1.50", Decimal("1.5")),
        (1, Decimal("1.00")),
        ("12345678901234567.89", Decimal("12345678901234567.89")),
        ("2026-01-01T13:00:00+01:00", datetime(2026, 1, 1, 12, tzinfo=UTC)),
        ("2026-01-01T12:00:00", datetime(2026, 1, 1, 12)),  # noqa: DTZ001 - a local timestamp
        ("2026-01-01", date(2026, 1, 1)),
        ("12:00:00", time(12)),
        ("00000000-0000-0000-0000-000000000001", UUID(int=1)),
        ("/w==", b"\xff"),
        ("text", "text"),
        (1, 1.0),
        (None, None),
        (True, True),
        ([1, {"a": "1"}], [1, {"a": Decimal(1)}]),
    ],
)
def test_json_means_what_a_consumer_reads(written: Any, value: Any) -> None:
    assert differences(written, value, "it") == []


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (1.51, Decimal("1.50")),
        ("much", Decimal(1)),
        (True, Decimal(1)),
        (True, 1),
        (1, True),
        ("1", 1),
        (None, 0),
        (0, None),
        ("2026-01-01T12:00:00", datetime(2026, 1, 1, 12, tzinfo=UTC)),
        ("noon", datetime(2026, 1, 1, 12, tzinfo=UTC)),
        (1767268800000, datetime(2026, 1, 1, 12, tzinfo=UTC)),
        ("2026-01-02", date(2026, 1, 1)),
        ("/w", b"\xff"),
        ({"a": 1}, [1]),
        ([1], {"a": 1}),
    ],
)
def test_json_does_not_mean(written: Any, value: Any) -> None:
    (difference,) = differences(written, value, "it")
    assert difference.startswith("it: expected ")


# The products of this repository


@pytest.mark.parametrize("made", MESH.products.values(), ids=lambda made: str(made.name))
def test_every_example_of_every_product_holds_and_every_rule_is_proven(made: Product) -> None:
    examined = examine(made)

    assert examined.verdicts, "a product without examples"
    assert [(one.name, one.differences) for one in examined.verdicts if one.differences] == []
    assert examined.unproven == ()
