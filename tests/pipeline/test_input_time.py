"""When facts happened that do not say so themselves."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from mesh_stream import filtered
from mesh_stream.pipeline.pipeline import Pipeline
from mesh_stream.pipeline.record import Outcome
from mesh_stream.product.product import Input
from mesh_stream.testing import START, MemorySchemas, ProductDriver
from tests.pipeline.making import MILLIS, contract, message, port, product, transformation

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOON_MILLIS = int(NOON.timestamp() * 1000)


class Event(msgspec.Struct):
    id: str
    at: datetime | None = None


def anonymous(event: Any) -> Any:
    name = event["id"] if isinstance(event, dict) else event.id
    return filtered("left") if name == "left" else [{"id": name}, {"id": name}]


def timed(applied: Any, *, field: str = "at") -> Input:
    return dataclasses.replace(port(applied), event_time=field)


@pytest.mark.parametrize("record_type", [Event, dict])
def test_facts_without_a_time_happened_when_their_input_says(record_type: Any) -> None:
    driver = ProductDriver(
        product(contract(id="string"), timed(transformation(anonymous, record_type)))
    )

    driver.send({"id": "a", "at": NOON})
    driver.send({"id": "b", "at": "2026-01-01T13:00:00.250+01:00"})

    moments = [published.event_time for published in driver.published]
    assert moments == [NOON_MILLIS] * 2 + [NOON_MILLIS + 250] * 2


def test_a_number_is_milliseconds() -> None:
    driver = ProductDriver(product(contract(id="string"), timed(transformation(anonymous))))

    driver.send({"id": "a", "at": 77})

    assert driver.published[0].event_time == 77


@pytest.mark.parametrize("said", ["noon", "2026-01-01T12:00:00", None, True, -5, 1.5, [], {}])
def test_where_the_input_says_nothing_useful_its_timestamp_counts(said: Any) -> None:
    driver = ProductDriver(product(contract(id="string"), timed(transformation(anonymous))))

    driver.send({"id": "before", "at": NOON})
    driver.send({"id": "a", "at": said})
    driver.send({"id": "b"})

    moments = [published.event_time for published in driver.published][2:]
    assert moments == [START + 1_000] * 2 + [START + 2_000] * 2


def test_what_another_record_said_does_not_stay() -> None:
    driver = ProductDriver(product(contract(id="string"), timed(transformation(anonymous))))

    driver.send({"id": "left", "at": NOON})
    driver.send(None)
    driver.send({"id": "a"})

    assert [published.event_time for published in driver.published] == [START + 2_000] * 2


def test_when_the_record_arrived_stays_what_it_is() -> None:
    source = timed(transformation(anonymous))
    path = Pipeline(
        product(contract(id="string"), source), source, schema_id=1, writers=MemorySchemas()
    )
    outcome = Outcome()

    path.process([message(b'{"id": "a", "at": 77}', timestamp=(1, 99))], outcome)

    assert {(fact.event_time, fact.arrived) for fact in outcome.facts} == {(77, 99)}


def test_the_facts_own_time_goes_first() -> None:
    facts = contract(id="string", at=MILLIS)
    later = NOON.replace(hour=13)

    def delayed(event: Event) -> dict[str, Any]:
        return {"id": event.id, "at": later}

    driver = ProductDriver(product(facts, timed(transformation(delayed, Event)), event_time="at"))
    driver.send({"id": "a", "at": NOON})

    assert driver.published[0].event_time == NOON_MILLIS + 3_600_000
