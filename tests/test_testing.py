"""What product authors test with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mesh_stream import DependencyError, SourceContext, filtered
from mesh_stream.errors import DeclarationError, HaltError
from mesh_stream.pipeline.pipeline import Pipeline
from mesh_stream.pipeline.record import Message, Outcome
from mesh_stream.product.product import (
    Action,
    Between,
    Emit,
    Format,
    Hopping,
    Input,
    NotNull,
    Rule,
    Session,
    Untimely,
)
from mesh_stream.testing import START, MemoryMessage, MemorySchemas, ProductDriver
from tests.pipeline.making import (
    MILLIS,
    UUID_TEXT,
    contract,
    contract_of,
    decimal,
    port,
    product,
    transformation,
)
from tests.pipeline.remembering import remembering, state

ROOT = Path(__file__).parents[1]
ORDERS = ROOT / "products" / "orders" / "orders-completed"
FACTS = contract(id="string", amount=["null", decimal(9, 2)], at=["null", MILLIS])
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def driver(**parts: Any) -> ProductDriver:
    return ProductDriver(product(FACTS, **parts))


# Loading


@pytest.mark.parametrize("folder", [ORDERS, str(ORDERS)], ids=["a path", "text"])
def test_a_product_is_driven_from_its_folder(folder: str | Path) -> None:
    orders = ProductDriver.load(folder)

    orders.send({"order_id": "ord_1", "status": "created", "occurred_at": "2026-01-01T12:00:00Z"})

    assert orders.filtered == {"not_completed": 1}


def test_a_faulty_folder_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "shop" / "nothing-here").mkdir(parents=True)

    with pytest.raises(DeclarationError, match=r"data_product\.yaml"):
        ProductDriver.load(tmp_path / "shop" / "nothing-here")


# What becomes of a record


def test_each_send_says_what_became_of_its_record() -> None:
    rules = [
        Rule("there", NotNull(), "amount"),
        Rule("small", Between(None, 10), "amount", Action.WARN),
    ]

    def apply(record: dict[str, Any]) -> Any:
        return filtered("test") if record["id"] == "t" else [record] * record.pop("times", 1)

    one = ProductDriver(product(FACTS, port(transformation(apply)), rules=rules))
    fact = {"id": "a", "amount": Decimal("1.50"), "at": NOON}

    made = one.send({"id": "a", "amount": 1.5, "at": 1767268800000, "times": 2})
    assert (made.facts, made.filtered, made.rejected, made.tolerated) == (
        [fact] * 2,
        None,
        None,
        [],
    )
    left = one.send({"id": "t"})
    assert (left.facts, left.filtered, left.rejected) == ([], "test", None)
    wrong = one.send({"id": "a"})
    assert (wrong.facts, wrong.filtered) == ([], None)
    assert wrong.rejected is not None
    assert (wrong.rejected.fault_class, wrong.rejected.rule) == ("contract", "there")
    dear = one.send({"id": "a", "amount": 11, "at": None})
    assert (len(dear.facts), dear.tolerated) == (1, ["small"])

    assert (one.sent, len(one.facts)) == (4, 3)
    assert one.filtered == {"test": 1}
    assert one.rejected == [wrong.rejected]
    assert one.tolerated == {"small": 1}


def test_a_dead_letter_has_the_headers_that_a_worker_writes() -> None:
    one = driver()

    sent = one.send(b"{", key="k", headers=[("h", "1"), ("h", None)])

    assert sent.rejected is not None
    own, why = sent.rejected.headers[:2], dict(sent.rejected.headers[2:])
    assert own == [("h", b"1"), ("h", None)]
    assert why["__dlq.errors.offset"] == b"0"
    assert why["mesh.dlq.rule"] == b"malformed"
    assert why["mesh.dlq.first.seen"] == str(START).encode()
    assert sent.rejected.message.value() == b"{"
    assert sent.rejected.message.key() == b"k"


def test_what_is_printed_says_enough() -> None:
    one = driver()
    one.send({"id": "a"})
    one.send({"id": 1})
    one.send(None)

    assert repr(one) == (
        "<orders-tested: 3 sent -> 1 facts, filtered {'tombstone': 1}, rejected "
        "[Rejection(fault_class='payload', rule='type', "
        "reason='Expected `str`, got `int` - at `$.id`')]>"
    )
    assert repr(driver()) == "<orders-tested: 0 sent -> 0 facts, filtered none, rejected none>"


def test_a_rule_that_fails_halts_the_test_and_the_next_record_is_the_same_one() -> None:
    one = driver(rules=[Rule("small", Between(None, 10), "amount", Action.FAIL)])

    for _ in range(2):
        with pytest.raises(HaltError, match=r"raw\.orders\[0\]@0 breaks the rule small") as caught:
            one.send({"id": "a", "amount": 11})
        assert caught.value.rule == "small"
    assert (one.sent, one.facts, one.rejected) == (0, [], [])


def test_a_dependency_that_is_down_is_raised_as_the_code_raised_it() -> None:
    def ask(_record: Any) -> Any:
        raise DependencyError("the price list does not answer")

    one = ProductDriver(product(FACTS, port(transformation(ask))))

    with pytest.raises(DependencyError, match="the price list does not answer") as caught:
        one.send({"id": "a"})
    assert caught.value.__cause__ is None
    assert (one.sent, one.rejected) == (0, [])


def test_records_may_be_sent_together() -> None:
    one = driver()

    sent = one.send_all([{"id": "a"}, None, b"{"])

    assert [bool(s.facts) for s in sent] == [True, False, False]
    assert [s.filtered for s in sent] == [None, "tombstone", None]


# What is sent


def looking(*ports: Input) -> tuple[ProductDriver, list[SourceContext]]:
    seen: list[SourceContext] = []

    def look(record: dict[str, Any], source: SourceContext) -> Any:
        seen.append(source)
        return record

    made = [
        Input(p.topic, p.format, None, None, transformation(look, context=True))
        for p in ports or (port(),)
    ]
    return ProductDriver(product(FACTS, *made)), seen


def test_records_are_numbered_and_a_second_apart_unless_said_otherwise() -> None:
    one, seen = looking()

    one.send({"id": "a"})
    one.send({"id": "b"}, key="k", headers={"h": "1", "raw": b"\xff"}, timestamp=77)
    one.send({"id": "c"}, key=b"\xff", timestamp=-1)
    one.send({"id": "d"})

    assert [source.offset for source in seen] == [0, 1, 2, 3]
    assert [source.timestamp for source in seen] == [START, 77, None, START + 3_000]
    assert [source.key for source in seen] == [None, b"k", b"\xff", None]
    assert seen[1].headers == [("h", b"1"), ("raw", b"\xff")]
    assert datetime.fromtimestamp(START / 1000, UTC) == NOON - timedelta(hours=12)


def test_an_input_is_named_by_its_topic_and_each_has_its_offsets() -> None:
    one, seen = looking(port(), port(topic="raw.refunds"))

    for topic in (None, "raw.refunds", "raw.refunds", "raw.orders"):
        one.send({"id": "a"}, topic=topic)

    assert [(source.topic, source.offset) for source in seen] == [
        ("raw.orders", 0),
        ("raw.refunds", 0),
        ("raw.refunds", 1),
        ("raw.orders", 1),
    ]
    with pytest.raises(
        ValueError, match=r"no input 'raw\.x'; there are: raw\.orders, raw\.refunds"
    ):
        one.send({}, topic="raw.x")


def test_data_is_written_as_json_without_loss_and_bytes_and_text_as_they_are() -> None:
    sent: list[Any] = []

    def keep(record: dict[str, Any]) -> None:
        sent.append(record)

    one = ProductDriver(product(FACTS, port(transformation(keep))))

    one.send({"d": Decimal("12345678901234567.89"), "at": NOON, "n": None, "é": "é"})
    one.send('{"é": 1.10}')
    one.send('{"é": 1.10}'.encode())

    assert sent[0] == {
        "d": Decimal("12345678901234567.89"),
        "at": "2026-01-01T12:00:00Z",
        "n": None,
        "é": "é",
    }
    assert sent[1] == sent[2] == {"é": Decimal("1.10")}


UPSTREAM = contract_of(
    {"name": "id", "type": "string"},
    {"name": "amount", "type": decimal(9, 2)},
    {"name": "at", "type": MILLIS},
    {"name": "by", "type": ["null", UUID_TEXT], "default": None},
)


def test_data_of_an_avro_input_is_written_as_the_other_product_would() -> None:
    one = ProductDriver(product(FACTS, port(form=Format.AVRO, reader=UPSTREAM)))

    one.send({"id": "a", "amount": Decimal("1.50"), "at": NOON})
    one.send({"id": "a", "amount": "1.50", "at": "2026-01-01T12:00:00Z"})

    assert one.facts == [{"id": "a", "amount": Decimal("1.50"), "at": NOON}] * 2, one


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"id": "a"}, "missing required field `amount`"),
        ({"id": "a", "amount": "1.505", "at": NOON}, "field amount: found a decimal of 4 digits"),
        ({"id": "a", "amount": 1, "at": "noon"}, "datetime"),
    ],
)
def test_data_that_no_other_product_could_write_is_refused_at_the_test(
    record: Any, why: str
) -> None:
    one = ProductDriver(product(FACTS, port(form=Format.AVRO, reader=UPSTREAM)))

    with pytest.raises(ValueError, match="does not fit the input's own schema") as caught:
        one.send(record)
    assert why in str(caught.value)
    assert one.sent == 0


def test_another_writers_schema_may_be_said() -> None:
    older = {"type": "record", "name": "Fact", "fields": [{"name": "id", "type": "string"}]}
    newer = contract_of(*UPSTREAM.schema["fields"], {"name": "more", "type": "string"})
    one = ProductDriver(product(FACTS, port(form=Format.AVRO, reader=UPSTREAM)))

    whole = {"id": "a", "amount": Decimal(1), "at": NOON, "by": None, "more": "x"}
    assert one.send(whole, schema=dict(newer.schema)).facts
    sent = one.send({"id": "a"}, schema=older)
    assert sent.rejected is not None
    assert sent.rejected.rule == "schema_incompatible"


def test_an_avro_input_of_no_declared_schema_asks_for_one() -> None:
    one = ProductDriver(product(FACTS, port(form=Format.AVRO)))

    with pytest.raises(ValueError, match=r"declares no schema; .* send\(record, schema=\.\.\.\)"):
        one.send({"id": "a"})
    assert one.send({"id": "a"}, schema=dict(contract(id="string").schema)).facts


@pytest.mark.parametrize("header", [False, True], ids=["before the value", "in a header"])
def test_a_framed_value_may_be_made_to_be_torn(header: bool) -> None:
    one = ProductDriver(product(FACTS, port(form=Format.AVRO)))
    value, headers = one.frame({"id": "a"}, dict(contract(id="string").schema), header=header)

    assert one.send(value, headers=headers).facts
    assert one.send(value[:-1], headers=headers).rejected is not None
    assert bool(headers) is header


# It is the real path


def test_the_pipeline_that_runs_is_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    real = Pipeline.process

    def process(self: Pipeline, run: list[Message], outcome: Outcome) -> None:
        ran.append(len(run))
        real(self, run, outcome)

    monkeypatch.setattr(Pipeline, "process", process)
    driver().send({"id": "a"})

    assert ran == [1]


def test_a_message_in_memory_is_one_for_the_path() -> None:
    pipeline = Pipeline(product(FACTS), port(), schema_id=1, writers=MemorySchemas())
    outcome = Outcome()
    made: Message = MemoryMessage("raw.orders", msgspec.json.encode({"id": "a"}), b"k")

    pipeline.process([made], outcome)

    assert outcome.facts[0].key == b"k"
    assert outcome.facts[0].event_time == -1


# Time


@pytest.fixture
def hours() -> ProductDriver:
    return ProductDriver.load(ROOT / "products" / "users" / "users-active")


@pytest.mark.parametrize(
    "said", ["2026-03-01T09:00:00Z", "2026-03-01T10:00:00+01:00", "2025-12-31T23:59:59Z"]
)
def test_a_record_is_not_written_before_it_happened(hours: ProductDriver, said: str) -> None:
    hours.send({"user_id": "cust_1", "occurred_at": said})

    assert [fact["events"] for fact in hours.facts] == [1], hours


def test_unless_the_test_says_when_it_was_written(hours: ProductDriver) -> None:
    sent = hours.send({"user_id": "cust_1", "occurred_at": "2026-03-01T09:00:00Z"}, timestamp=START)

    assert sent.rejected is not None
    assert sent.rejected.rule == "early"


@pytest.mark.parametrize("said", ["noon", "2026-03-01T09:00:00", None, True])
def test_what_is_no_time_is_written_when_the_driver_says(hours: ProductDriver, said: Any) -> None:
    sent = hours.send({"user_id": "cust_1", "occurred_at": said})

    assert sent.rejected is not None
    assert sent.rejected.message.timestamp() == (1, START)


# A product that remembers


HOUR = 3_600_000


class Move(msgspec.Struct, frozen=True):
    sku: str
    units: int
    at: int = START


class Stock(msgspec.Struct, frozen=True):
    sku: str
    units: int


def stock(before: Stock | None, event: Move) -> Stock | None:
    if event.units == 0:
        return None
    return Stock(event.sku, event.units + (before.units if before else 0))


def remembers(*, direct: bool = True, partitions: int = 1, **parts: Any) -> ProductDriver:
    said = state(
        stock, fact=None, merge=lambda a, b: Stock(a.sku, a.units + b.units), event_type=Move,
        state_type=Stock, repartitions=not direct, **parts,
    )  # fmt: skip
    facts = contract(sku="string", units="long")
    rules = [
        Rule("some", Between(-5, None), "units"),
        Rule("few", Between(None, 9), "units", Action.WARN),
    ]
    return ProductDriver(remembering(said, facts=facts, rules=rules), partitions=partitions)


def moved(units: int, *, sku: str = "a", at: int = START) -> dict[str, Any]:
    return {"sku": sku, "units": units, "at": at}


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "repartitioned"])
@pytest.mark.parametrize("partitions", [1, 4])
def test_every_change_of_a_state_is_a_fact(direct: bool, partitions: int) -> None:
    one = remembers(direct=direct, partitions=partitions)

    assert one.send(moved(1)).facts == [{"sku": "a", "units": 1}]
    assert one.send(moved(2)).facts == [{"sku": "a", "units": 3}]
    one.send_all([moved(5, sku=sku) for sku in "bcd"])

    assert one.states == {"a": Stock("a", 3), **{sku: Stock(sku, 5) for sku in "bcd"}}
    assert (one.state("a"), one.state("z")) == (Stock("a", 3), None)
    assert (one.sent, one.filtered, one.rejected) == (5, {}, [])


def test_one_commit_publishes_one_fact_of_a_key() -> None:
    one = remembers()
    with one.one_commit():
        inside = [one.send(moved(n)) for n in (1, 2)] + [one.send(moved(20, sku="b"))]
        assert (one.facts, one.states) == ([], {})

    assert [sent.facts for sent in inside] == [[], [], []]
    assert one.facts == [{"sku": "a", "units": 3}, {"sku": "b", "units": 20}]
    assert one.tolerated == {"few": 1}


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "repartitioned"])
def test_what_is_raised_out_of_one_commit_aborts_it(direct: bool) -> None:
    one = remembers(direct=direct, window=Hopping(HOUR, HOUR))
    one.send(moved(1))

    def torn() -> None:
        with one.one_commit():
            one.send(moved(20))
            one.send(moved(1, at=START + 5 * HOUR), timestamp=START + 5 * HOUR)
            one.send(b"{")
            raise KeyError

    with pytest.raises(KeyError):
        torn()

    assert (one.sent, len(one.facts), one.rejected, one.tolerated) == (1, 1, [], {})
    # Nothing of it counts: neither the time that passed, nor the offsets.
    sent = one.send(moved(2))
    assert sent.facts == [{"sku": "a", "units": 3}]
    wrong = one.send(b"{")
    assert wrong.rejected is not None
    assert wrong.rejected.message.offset() == 2


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "repartitioned"])
@pytest.mark.parametrize("moment", [START + HOUR, datetime(2026, 1, 1, 1, tzinfo=UTC)], ids=type)
def test_time_is_in_the_tests_hands(direct: bool, moment: Any) -> None:
    one = remembers(
        direct=direct,
        partitions=2,
        window=Hopping(HOUR, HOUR),
        emit=Emit.ON_CLOSE,
        late=Untimely.DROP,
    )
    one.send(moved(1))
    one.send(moved(-9, sku="b"))
    assert one.states.keys() == {(sku, datetime(2026, 1, 1, tzinfo=UTC)) for sku in "ab"}
    assert one.state("a", START) == one.state("a", datetime(2026, 1, 1, tzinfo=UTC))
    assert one.advance(START + HOUR - 1).facts == []

    passed = one.advance(moment)

    assert passed.facts == one.facts == [{"sku": "a", "units": 1}]
    assert passed.rejected is not None
    assert passed.rejected == one.rejected[0]
    assert passed.rejected.rule == "some"
    assert passed.rejected.message.value() == b'{"sku":"b","units":-9}'
    assert one.states == {}
    assert one.send(moved(1)).filtered == "late"
    assert one.advance(START).facts == []


def test_time_passes_within_one_commit_when_that_ends() -> None:
    one = remembers(window=Hopping(HOUR, HOUR), emit=Emit.ON_CLOSE)
    with one.one_commit():
        one.send(moved(1))
        assert one.advance(START + HOUR).facts == []

    assert one.facts == [{"sku": "a", "units": 1}]


def test_sessions_are_told_by_their_start() -> None:
    one = remembers(window=Session(HOUR))
    one.send(moved(1, at=START + 5))
    one.send(moved(2, at=START + 9))

    assert one.states == {
        ("a", NOON - timedelta(hours=12) + timedelta(milliseconds=5)): Stock("a", 3)
    }
    assert one.state("a", START + 5) == Stock("a", 3)


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a time zone"):
        remembers(ttl=HOUR).advance(datetime(2026, 1, 1))  # noqa: DTZ001 - what is refused


def test_a_product_without_state_says_so() -> None:
    one = driver()

    for ask in (lambda: one.states, lambda: one.state("a"), lambda: one.advance(START)):
        with pytest.raises(ValueError, match="orders-tested has no state"):
            ask()
    with one.one_commit():
        one.send({"id": "a"})
    assert len(one.facts) == 1


def test_a_record_has_the_key_that_its_input_declares() -> None:
    one = remembers()

    assert one.send(moved(1)).rejected is None
    wrong = one.send(moved(1), key="b")
    assert wrong.rejected is not None
    assert wrong.rejected.rule == "key"
    assert wrong.rejected.message.key() == b"b"
    raw = one.send(msgspec.json.encode(moved(1)))
    assert raw.rejected is not None
    assert raw.rejected.message.key() is None


def test_a_partition_is_said_or_the_keys() -> None:
    one, seen = looking(port())
    one = ProductDriver(one.product, partitions=4)

    one.send({"id": "a"}, partition=3)
    one.send({"id": "a"}, partition=3)
    one.send({"id": "a"}, key="k")
    one.send({"id": "a"}, key="k")
    assert [(source.partition, source.offset) for source in seen[:2]] == [(3, 0), (3, 1)]
    assert seen[2].partition == seen[3].partition
    with pytest.raises(ValueError, match=r"no partition 4; expected one of 4, .*partitions="):
        one.send({"id": "a"}, partition=4)


def test_what_a_source_brings_is_late_by_its_own_events_alone() -> None:
    one = remembers(direct=False, partitions=2, window=Hopping(HOUR, HOUR))
    one.send(moved(1, at=START + 5 * HOUR), partition=0, timestamp=START + 5 * HOUR)

    assert one.send(moved(1), partition=1).facts == [{"sku": "a", "units": 1}]
    late = one.send(moved(1), partition=0)
    assert late.rejected is not None
    assert late.rejected.rule == "late"
