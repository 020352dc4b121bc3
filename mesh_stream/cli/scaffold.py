"""The files of a new product: small, whole, true for any domain, so that they run as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping

_DECLARATION = """\
# What this product promises. `mesh-stream validate` finds every fault in it at once;
# `mesh-stream validate --json-schema` prints the schema that editors complete it with.
data_product:
  name: @NAME@
  owner: @OWNER@
  description: Settled @DOMAIN@ events, one fact each
  documentation: docs/README.md
  tags: [@DOMAIN@]
  support:
    - channel: @CHANNEL@

  sla:
    freshness: 15_minutes      # the oldest a fact may be when it arrives
    availability: 99.9%        # the share of time in which that holds

  inputs:
    - topic: raw.@DOMAIN@
      format: json
      event_time: occurred_at

  # The contract: consumers get these fields as Avro, exactly.
  schema:
    - {name: id, type: string, description: The event's own id}
    - {name: amount, type: "decimal(18,2)", description: What was settled}
    - {name: occurred_at, type: timestamp, description: When it was settled}

  output:
    key: id                    # facts with equal keys stay in order
    event_time: occurred_at    # freshness is measured from here
"""

_TRANSFORMATION = '''\
"""From raw @DOMAIN@ events to the facts of @NAME@: plain functions, without Kafka.

`transform` is called for each record. It returns a fact, or `filtered(reason)` for a record that
makes none on purpose, or an iterable of facts. What it raises makes the record a dead letter.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from mesh_stream import filtered


class Event(msgspec.Struct, frozen=True):
    """What we read of an event. What the rules judge may be null here, so that they see it."""

    status: str
    id: str | None = None
    amount: Decimal | None = None
    occurred_at: datetime | None = None


class Fact(msgspec.Struct, frozen=True):
    """What we publish: the fields of the contract."""

    id: str | None
    amount: Decimal | None
    occurred_at: datetime | None


def transform(event: Event):
    if event.status != "settled":
        return filtered("not_settled")
    return Fact(event.id, event.amount, event.occurred_at)
'''

_CHECKS = '''\
"""The rules of @NAME@, said once at load and applied to every fact."""

from mesh_stream.quality import data_quality_check, expect


@data_quality_check
def validate_@PYTHON_NAME@(df):
    expect(df).column_values_to_not_be_null("id")
    expect(df).column_values_to_not_be_null("occurred_at")
    expect(df).column_values_to_be_between("amount", 0, 1000000)
'''

_EXAMPLES = """\
# What becomes of which record: `mesh-stream test @NAME@` runs these, without a broker.
# Each example says all that may become of its records; every rule has one that it alone stops.

- name: a settled event is a fact
  given: {id: e1, status: settled, amount: 12.50, occurred_at: "2026-01-01T12:00:00Z"}
  facts:
    - {id: e1, amount: 12.50, occurred_at: "2026-01-01T12:00:00Z"}

- name: any other event is left out
  given: {id: e1, status: opened, occurred_at: "2026-01-01T12:00:00Z"}
  filtered: not_settled

- name: without an id it is nobody's
  given: {status: settled, amount: 12.50, occurred_at: "2026-01-01T12:00:00Z"}
  rejected: {class: contract, rule: id_not_null}

- name: without its time it cannot be fresh
  given: {id: e1, status: settled, amount: 12.50}
  rejected: {class: contract, rule: occurred_at_not_null}

- name: nothing is settled for less than nothing
  given: {id: e1, status: settled, amount: -0.01, occurred_at: "2026-01-01T12:00:00Z"}
  rejected: {class: contract, rule: amount_between}

- name: a message cut short is kept as a dead letter
  given: '{"id": "e1", "stat'
  rejected: {class: payload, rule: malformed}
"""

_TESTS = '''\
"""What examples cannot say well. `mesh-stream test @NAME@` runs this too, in pytest."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from mesh_stream.testing import ProductDriver


def test_amounts_are_exact() -> None:
    driver = ProductDriver.load(Path(__file__).parents[1])

    for amount in ("0.01", "999999.99"):
        driver.send(
            {
                "id": "e1",
                "status": "settled",
                "amount": amount,
                "occurred_at": "2026-01-01T12:00:00Z",
            }
        )

    assert [fact["amount"] for fact in driver.facts] == [Decimal("0.01"), Decimal("999999.99")]
'''

_DOCUMENTATION = """\
# @NAME@

One fact for each settled event of @DOMAIN@, on the topic `@DOMAIN@.@NAME@.v1`.

| field | type | meaning |
| --- | --- | --- |
| `id` | string | the event's own id; the record key |
| `amount` | decimal(18,2) | what was settled, from 0 to 1,000,000 |
| `occurred_at` | timestamp | when it was settled, UTC |

Facts arrive within 15 minutes, 99.9% of the time. Read them with `isolation.level=read_committed`;
`mesh-stream tail @NAME@` shows them. Events that are not settled make no fact; events that are
wrong are dead letters on `dlq.@DOMAIN@.@NAME@`.
"""


def files_of(domain: str, name: str, *, owner: str) -> Mapping[str, str]:
    """Returns the files of a new product: path inside its folder -> text.

    Args:
        domain: The domain's id.
        name: The product's id.
        owner: The team that answers for it.
    """
    python_name = name.replace("-", "_")
    words = {
        "@DOMAIN@": domain,
        "@NAME@": name,
        "@PYTHON_NAME@": python_name,
        # JSON text is YAML, whatever the team is called.
        "@OWNER@": json.dumps(owner),
        "@CHANNEL@": json.dumps(f"#{owner}"),
    }
    texts = {
        "data_product.yaml": _DECLARATION,
        f"src/transformations/{python_name}.py": _TRANSFORMATION,
        f"src/quality/validate_{python_name}.py": _CHECKS,
        "tests/examples.yaml": _EXAMPLES,
        f"tests/test_{python_name}.py": _TESTS,
        "docs/README.md": _DOCUMENTATION,
    }
    for word, meaning in words.items():
        texts = {path: text.replace(word, meaning) for path, text in texts.items()}
    return texts
