from __future__ import annotations

from pathlib import Path

import pytest

from mesh_stream.errors import Fault
from mesh_stream.product.loader import load_product
from mesh_stream.product.output import BATCH_OVERHEAD
from mesh_stream.product.product import Output
from tests.product.seed import declaration, the_fault_of, write

FIELDS = """\
    - order_id: string
    - number: long?
    - total_amount: decimal
"""


def text(more: str, fields: str) -> dict[str, str]:
    whole = declaration(more=more)
    head, _, tail = whole.partition("  schema:\n")
    return {
        "data_product.yaml": f"{head}  schema:\n{fields}{tail[tail.index('  documentation') :]}"
    }


def output(root: Path, more: str = "", fields: str = FIELDS) -> Output:
    return load_product(write(root, "orders/orders-completed", text(more, fields))).output


def fault(root: Path, more: str = "", fields: str = FIELDS) -> Fault:
    folder = write(root, "orders/orders-completed", text(more, fields))
    return the_fault_of(lambda: load_product(folder))


def test_the_topic_is_named_after_domain_product_and_major_version(tmp_path: Path) -> None:
    assert output(tmp_path).topic == "orders.orders-completed.v1"
    assert output(tmp_path, "version: 12.3.4").topic == "orders.orders-completed.v12"


def test_what_is_left_out_stays_open(tmp_path: Path) -> None:
    found = output(tmp_path)

    assert (found.key, found.event_time, found.partitions, found.settings) == (None, None, None, {})


def test_the_only_timestamp_is_the_event_time(tmp_path: Path) -> None:
    found = output(tmp_path, fields=FIELDS + "    - at: timestamp-micros\n    - seen: timestamp?\n")

    assert found.event_time == "at"


def test_a_timestamp_that_may_be_null_is_not_chosen(tmp_path: Path) -> None:
    assert output(tmp_path, fields=FIELDS + "    - seen: timestamp?\n").event_time is None


def test_one_of_several_timestamps_must_be_named(tmp_path: Path) -> None:
    fields = FIELDS + "    - at: timestamp\n    - seen: timestamp\n"

    found = fault(tmp_path, fields=fields)

    assert found.found == "several timestamps (at, seen) and no event_time"
    assert output(tmp_path, "output: {event_time: seen}", fields).event_time == "seen"


@pytest.mark.parametrize(
    ("more", "field", "found", "remedy"),
    [
        ("output: {key: order}", "key", "'order'", "did you mean order_id?"),
        ("output: {key: number}", "key", "number, which is long?", "equal bytes"),
        ("output: {key: total_amount}", "key", "total_amount, which is decimal(18,2)", "equal"),
        ("output: {event_time: at}", "event_time", "'at'", ""),
        ("output: {event_time: order_id}", "event_time", "order_id, which is string", ""),
        ("output: {retention: 1_day, settings: {retention.ms: 5}}", "settings",
         "retention, and retention.ms again", ""),
        ("output: {settings: {max.message.bytes: 1000}}", "settings.max.message.bytes", "1000", ""),
        ("output: {settings: {max.message.bytes: x}}", "settings.max.message.bytes", "x", ""),
    ],
)  # fmt: skip
def test_an_output_that_does_not_fit_the_contract(
    tmp_path: Path, more: str, field: str, found: str, remedy: str
) -> None:
    fault_found = fault(tmp_path, more)

    assert fault_found.field == f"data_product.output.{field}"
    assert fault_found.found == found
    assert remedy in fault_found.remedy


@pytest.mark.parametrize("key", ["order_id", "whole", "id"])
def test_a_key_is_text_a_whole_number_or_a_uuid(tmp_path: Path, key: str) -> None:
    fields = FIELDS + "    - whole: int\n    - id: uuid\n"

    assert output(tmp_path, f"output: {{key: {key}}}", fields).key == key


@pytest.mark.parametrize(
    ("said", "millis"),
    [("90_days", "7776000000"), ("forever", "-1"), ("0.5_seconds", "500")],
)
def test_retention_is_told_in_the_brokers_own_setting(
    tmp_path: Path, said: str, millis: str
) -> None:
    assert output(tmp_path, f"output: {{retention: {said}}}").settings == {"retention.ms": millis}


def test_a_topic_has_room_for_the_largest_fact(tmp_path: Path) -> None:
    settings = output(tmp_path, "limits: {record_bytes: 5000000}").settings

    assert settings == {"max.message.bytes": str(5_000_000 + BATCH_OVERHEAD)}


def test_a_smaller_limit_leaves_the_brokers_room(tmp_path: Path) -> None:
    assert output(tmp_path, "limits: {record_bytes: 5000}").settings == {}
