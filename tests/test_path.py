"""The twin of `mesh_stream/pipeline/pipeline.py`: what can become of a record, each fate once.

One product, one function, one rule of each action; and the same with a fold at its end. Read it
beside the path; the details of each stage are in `tests/pipeline/`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream import DependencyError, filtered
from mesh_stream.errors import HaltError
from mesh_stream.pipeline.pipeline import Interrupted, Pipeline
from mesh_stream.pipeline.record import Outcome
from mesh_stream.pipeline.stages import MAX_REASONS
from mesh_stream.product.product import (
    Action,
    Between,
    Emit,
    Hopping,
    InSet,
    Limits,
    MatchesRegex,
    Rule,
)
from mesh_stream.testing import CONTRACT_ID, MemorySchemas, ProductDriver
from tests.pipeline.making import (
    MILLIS,
    contract,
    decimal,
    message,
    port,
    product,
    transformation,
)
from tests.pipeline.remembering import HOUR, state


class Payment(msgspec.Struct):
    """What comes in."""

    id: str
    amount: Decimal
    at: datetime
    status: str = "settled"
    times: int = 1


class Settled(msgspec.Struct):
    """What goes out."""

    id: str
    amount: Decimal
    at: datetime


def settle(payment: Payment) -> Any:
    """Each status is one way through the path."""
    match payment.status:
        case "settled":
            return Settled(payment.id, payment.amount, payment.at)
        case "split":
            part = payment.amount / payment.times
            return (Settled(f"{payment.id}.{n}", part, payment.at) for n in range(payment.times))
        case "open":
            return None
        case "test":
            return filtered("test_payment")
        case "bank_down":
            raise DependencyError("the bank does not answer")
        case status:
            raise ValueError(f"no status {status} in my book of secrets")


PAYMENTS = product(
    contract(id="string", amount=decimal(9, 2), at=MILLIS),
    port(transformation(settle, Payment)),
    rules=[
        Rule("id_shape", MatchesRegex(r"pay_\d+"), "id"),
        Rule("amount_positive", Between(0, None, strict_minimum=True), "amount"),
        Rule("amount_usual", Between(None, 1_000), "amount", Action.WARN),
        Rule("id_not_fatal", InSet(("pay_666",), negated=True), "id", Action.FAIL),
    ],
    key="id",
    event_time="at",
    limits=Limits(fanout=100),
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def payment(**changes: Any) -> dict[str, Any]:
    """A record that becomes a fact, and what is different about it."""
    return {"id": "pay_1", "amount": "12.50", "at": "2026-01-01T12:00:00Z", **changes}


@pytest.fixture
def path() -> ProductDriver:
    return ProductDriver(PAYMENTS)


def rejection(driver: ProductDriver) -> tuple[str, str]:
    """Class and rule of the one dead letter."""
    (rejected,) = driver.rejected
    assert driver.facts == []
    return rejected.fault_class, rejected.rule


# A record's fates


def test_a_good_record_is_a_fact_with_key_and_event_time(path: ProductDriver) -> None:
    path.send(payment())

    (published,) = path.published
    assert published.fact == {"id": "pay_1", "amount": Decimal("12.50"), "at": NOON}
    assert published.key == b"pay_1"
    assert published.event_time == int(NOON.timestamp() * 1000)
    assert published.value[:5] == b"\x00" + CONTRACT_ID.to_bytes(4, "big")
    assert path.rejected == []


def test_one_record_may_become_several_facts_in_order(path: ProductDriver) -> None:
    path.send(payment(status="split", times=3, amount="9.00"))

    assert [fact["id"] for fact in path.facts] == ["pay_1.0", "pay_1.1", "pay_1.2"]
    assert {fact["amount"] for fact in path.facts} == {Decimal("3.00")}


def test_a_record_that_is_no_fact_is_filtered_with_its_reason(path: ProductDriver) -> None:
    path.send(payment(status="open"))
    path.send(payment(status="test"))
    path.send(payment(status="split", times=0, amount="0"))
    path.send(None)

    assert path.facts == []
    assert path.rejected[0].rule == "transformation"  # 0 / 0 is the code's fault, not a filter
    assert path.filtered == {"unspecified": 1, "test_payment": 1, "tombstone": 1}


def test_bytes_that_are_no_record_are_rejected_as_payload(path: ProductDriver) -> None:
    path.send(b'{"id": "pay_1", "amo')

    assert rejection(path) == ("payload", "malformed")


def test_a_record_of_another_type_is_rejected_as_payload(path: ProductDriver) -> None:
    path.send(payment(at="yesterday"))

    assert rejection(path) == ("payload", "type")


def test_a_fact_that_breaks_a_rule_is_rejected_as_contract(path: ProductDriver) -> None:
    path.send(payment(id="order_1"))

    assert rejection(path) == ("contract", "id_shape")


def test_a_fact_that_does_not_fit_the_schema_is_rejected_as_contract(path: ProductDriver) -> None:
    path.send(payment(amount="12.505"))

    assert rejection(path) == ("contract", "schema")
    assert "12.505" not in path.rejected[0].reason


def test_a_record_on_which_the_code_raises_is_rejected_as_code(path: ProductDriver) -> None:
    path.send(payment(status="torn"))

    assert rejection(path) == ("code", "transformation")
    assert "ValueError raised at test_path.py:" in path.rejected[0].reason
    assert "secrets" not in path.rejected[0].reason


def test_a_broken_rule_that_only_warns_is_counted_and_the_fact_published(
    path: ProductDriver,
) -> None:
    path.send(payment(amount="1000.01"))

    assert len(path.facts) == 1
    assert path.tolerated == {"amount_usual": 1}


def test_a_broken_rule_that_fails_halts_the_product(path: ProductDriver) -> None:
    with pytest.raises(HaltError, match=r"raw\.orders\[0\]@0 breaks the rule id_not_fatal"):
        path.send(payment(id="pay_666"))

    assert path.sent == 0


def test_a_platform_fault_is_nobodys_dead_letter(path: ProductDriver) -> None:
    with pytest.raises(DependencyError, match="the bank does not answer"):
        path.send(payment(status="bank_down"))

    assert path.rejected == []


# What the product remembers: each event changes the state of its key, and the state is the fact


def add_up(before: Settled | None, event: Settled) -> Settled | None:
    """What was paid for an id; a payment of 0.01 forgets it, and of 0.02 cannot be added."""
    match event.amount:
        case Decimal() if event.amount == Decimal("0.01"):
            return None
        case Decimal() if event.amount == Decimal("0.02"):
            raise ValueError("no such coin in my book of secrets")
        case _:
            paid = before.amount if before is not None else Decimal(0)
            return Settled(event.id, paid + event.amount, event.at)


def remembering(**parts: Any) -> ProductDriver:
    """Payments, whose sum is the fact."""
    said = state(
        add_up, fact=None, merge=None, event_type=Settled, state_type=Settled, key="id", **parts
    )
    timed = dataclasses.replace(PAYMENTS.inputs[0], event_time="at")
    return ProductDriver(dataclasses.replace(PAYMENTS, inputs=(timed,), state=said))


def hourly(emit: Emit) -> ProductDriver:
    """The same by the hour."""
    return remembering(window=Hopping(HOUR, HOUR), emit=emit)


def test_an_event_changes_a_state_and_the_state_becomes_a_fact() -> None:
    path = remembering()
    path.send(payment())
    path.send(payment(status="split", times=2, amount="9.00"))
    path.send(payment(amount="1.00"))

    assert [(fact["id"], fact["amount"]) for fact in path.facts] == [
        ("pay_1", Decimal("12.50")),
        ("pay_1.0", Decimal("4.50")),
        ("pay_1.1", Decimal("4.50")),
        ("pay_1", Decimal("13.50")),
    ]
    assert path.published[-1].event_time == int(NOON.timestamp() * 1000)
    assert path.states.keys() == {"pay_1", "pay_1.0", "pay_1.1"}


def test_what_is_no_event_is_filtered_or_rejected_before_the_fold() -> None:
    path = remembering()
    for record in (payment(status="open"), payment(status="torn"), b"{", None):
        path.send(record)

    assert path.filtered == {"unspecified": 1, "tombstone": 1}
    assert [rejected.fault_class for rejected in path.rejected] == ["code", "payload"]
    assert path.states == {}


def test_an_event_that_goes_wrong_in_the_fold_or_after_leaves_the_state_as_it_was() -> None:
    path = remembering()
    path.send(payment())
    for amount in ("0.02", "-100", "9999999.00"):
        path.send(payment(amount=amount))

    assert [(one.fault_class, one.rule) for one in path.rejected] == [
        ("code", "transformation"),
        ("contract", "amount_positive"),
        ("contract", "schema"),
    ]
    assert path.state("pay_1").amount == Decimal("12.50")
    assert len(path.facts) == 1


def test_a_state_that_is_none_is_forgotten() -> None:
    path = remembering()
    path.send(payment())
    path.send(payment(amount="0.01"))

    assert (path.states, len(path.facts), path.rejected) == ({}, 1, [])


def test_a_window_that_closes_becomes_a_fact_or_a_dead_letter() -> None:
    path = hourly(Emit.ON_CLOSE)
    path.send(payment(amount="20.00"))
    path.send(payment(amount="22.00"))
    path.send(payment(id="order_1"))
    assert (path.facts, path.rejected) == ([], [])

    path.advance(NOON.replace(hour=13))

    assert [fact["amount"] for fact in path.facts] == [Decimal("42.00")]
    assert [rejected.rule for rejected in path.rejected] == ["id_shape"]
    assert path.states == {}


def test_an_event_whose_windows_are_closed_is_late() -> None:
    path = hourly(Emit.ON_CHANGE)
    path.send(payment(at="2026-01-01T14:00:00Z"), timestamp=int(NOON.timestamp() + 7200) * 1000)
    path.send(payment())

    assert [(one.fault_class, one.rule) for one in path.rejected] == [("contract", "late")]
    assert len(path.facts) == 1


# What holds for a run of records


def run(*records: dict[str, Any] | bytes) -> tuple[Pipeline, list[Any]]:
    pipeline = Pipeline(PAYMENTS, PAYMENTS.inputs[0], schema_id=1, writers=MemorySchemas())
    values = [
        record if isinstance(record, bytes) else msgspec.json.encode(record) for record in records
    ]
    return pipeline, [message(value, offset=offset) for offset, value in enumerate(values)]


def test_a_platform_fault_ends_the_run_where_it_happened_and_keeps_what_came_before() -> None:
    pipeline, messages = run(
        payment(), payment(status="open"), payment(status="bank_down"), payment(id="pay_2")
    )
    outcome = Outcome()

    with pytest.raises(Interrupted) as caught:
        pipeline.process(messages, outcome)

    assert caught.value.done == 2
    assert isinstance(caught.value.cause, DependencyError)
    assert (outcome.consumed, outcome.sources, outcome.filtered["unspecified"]) == (2, 1, 1)
    assert outcome.rejected == []


@pytest.mark.parametrize(("third", "arrived"), [("settled", 9), ("bank_down", 8)])
def test_a_run_is_as_new_as_the_last_of_its_records_that_was_taken(
    third: str, arrived: int
) -> None:
    pipeline, _ = run()
    messages = [
        message(msgspec.json.encode(payment(status=status)), timestamp=(1, at))
        for at, status in ((7, "settled"), (8, "open"), (9, third))
    ]
    outcome = Outcome()

    with suppress(Interrupted):
        pipeline.process(messages, outcome)

    assert outcome.arrived == arrived
    assert [fact.arrived for fact in outcome.facts] == [7, 9][: len(outcome.facts)]


def test_a_bad_record_does_not_touch_its_neighbours() -> None:
    pipeline, messages = run(payment(id="pay_1"), b"\xff", payment(id="pay_3"))
    outcome = Outcome()

    pipeline.process(messages, outcome)

    assert [fact.key for fact in outcome.facts] == [b"pay_1", b"pay_3"]
    assert [rejected.message for rejected in outcome.rejected] == [messages[1]]


def test_one_wrong_fact_of_several_rejects_the_record_whole() -> None:
    def pair(record: dict[str, Any]) -> Iterator[Settled]:
        yield Settled("pay_1", Decimal(1), NOON)
        yield Settled(record["second"], Decimal(1), NOON)

    driver = ProductDriver(
        product(PAYMENTS.contract, port(transformation(pair)), rules=PAYMENTS.rules)
    )

    driver.send({"second": "torn"})
    assert rejection(driver) == ("contract", "id_shape")

    driver.send({"second": "pay_2"})
    assert len(driver.facts) == 2


def test_reasons_are_bounded_because_they_become_labels() -> None:
    def by_id(record: dict[str, Any]) -> Any:
        return filtered(record["id"])

    driver = ProductDriver(product(PAYMENTS.contract, port(transformation(by_id))))
    pipeline = Pipeline(
        driver.product, driver.product.inputs[0], schema_id=1, writers=MemorySchemas()
    )
    outcome = Outcome()

    pipeline.process([message(b'{"id": "%d"}' % n) for n in range(200)], outcome)

    assert len(outcome.filtered) == MAX_REASONS + 1
    assert outcome.filtered["other"] == 200 - MAX_REASONS


ANY_RECORD = st.one_of(
    st.builds(
        payment,
        id=st.from_regex(r"pay_\d{1,3}|order_\d", fullmatch=True).filter(lambda i: i != "pay_666"),
        amount=st.decimals(-10, 2_000, places=2).map(str),
        status=st.sampled_from(["settled", "settled", "split", "open", "test", "torn"]),
        times=st.integers(0, 3),
    ),
    st.binary(max_size=20),
    st.none(),
    st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4), max_size=3),
)


@given(st.lists(ANY_RECORD, max_size=20))
def test_the_books_balance_whatever_comes(records: list[Any]) -> None:
    pipeline = Pipeline(PAYMENTS, PAYMENTS.inputs[0], schema_id=1, writers=MemorySchemas())
    messages = [
        message(
            record if record is None or isinstance(record, bytes) else msgspec.json.encode(record),
            offset=offset,
        )
        for offset, record in enumerate(records)
    ]
    whole = Outcome()
    pipeline.process(messages, whole)

    assert whole.consumed == len(records)
    assert whole.consumed == whole.sources + whole.filtered.total() + len(whole.rejected)

    # A record's fate is its own: one by one they come to the same, in the same order.
    apart = Outcome()
    for one in messages:
        pipeline.process([one], apart)
    assert apart == whole

    offsets = [rejected.message.offset() for rejected in whole.rejected]
    assert offsets == sorted(set(offsets), key=lambda offset: offset or 0)
    counts = Counter(type(record) for record in records)
    assert whole.filtered["tombstone"] == counts[type(None)]
