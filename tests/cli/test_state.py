from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from mesh_stream.local.ports import choose
from mesh_stream.local.stack import Stack
from mesh_stream.pipeline.entries import STATE
from tests.cli.calling import Call, Result, calling
from tests.kafka.stocked import CODE, Stocked, stocked

pytestmark = pytest.mark.kafka

MOVES = (("a", 1), ("b", 2), ("c", 5), ("a", 3))
EVIL = "\x1b]0;owned\x07\x9b31m\u202e"
"""What would retitle a terminal, colour it, and turn the text round."""


@pytest.fixture(scope="module")
def plain(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stocked:
    """A product without windows; a key of it was forgotten again."""
    code = CODE.replace(
        "return Stock(event.sku,", "return None if not event.units else Stock(event.sku,"
    )
    made = stocked(stack, tmp_path_factory.mktemp("plain"), keyed=True, code=code)
    made.provision()
    made.feed(*MOVES, ("gone", 1))
    made.run()
    made.feed(("gone", 0), ("b", 1), (EVIL, 1))
    made.run()
    return made


@pytest.fixture
def call(
    stack: Stack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Call]:  # fmt: skip
    env = Stocked(stack, tmp_path / "products", "any", keyed=True).environment
    with calling(capsys, monkeypatch, env) as call:
        yield call


Show = Callable[..., Result]


@pytest.fixture
def show(call: Call) -> Show:
    """What is shown of a product."""

    def show(product: Stocked, *options: str) -> Result:
        return call("state", product.name, "--products", product.products, *options)

    return show


def remembered(result: Result) -> list[dict[str, Any]]:
    assert result.code == 0, result.err
    return [json.loads(line) for line in result.out.splitlines()]


def test_the_newest_state_of_every_key_is_shown(show: Show, plain: Stocked) -> None:
    found = {one["key"]: one["state"] for one in remembered(show(plain, "--json"))}
    assert found == {
        "a": {"sku": "a", "on_hand": 4},
        "b": {"sku": "b", "on_hand": 3},
        "c": {"sku": "c", "on_hand": 5},
        EVIL: {"sku": EVIL, "on_hand": 1},
    }


def test_people_are_told_how_far_each_partition_has_come(show: Show, plain: Stocked) -> None:
    result = show(plain)
    assert result.code == 0
    head, *lines = result.out.splitlines()
    assert head.startswith(f"{plain.name}: 4 entries in mesh.{plain.name}.changelog, of ")
    for (topic, number), offset in plain.positions().items():
        assert f"  {topic}[{number}]: next offset {offset}" in lines
    assert 'a  {"sku":"a","on_hand":4}' in lines


def test_nothing_that_a_terminal_would_obey_is_printed(show: Show, plain: Stocked) -> None:
    result = show(plain)
    assert "owned" in result.out
    assert all(line.isprintable() for line in result.out.splitlines())


def test_one_key_is_shown_alone(show: Show, plain: Stocked) -> None:
    (found,) = remembered(show(plain, "--json", "--key", "b"))
    assert (found["key"], found["state"]["on_hand"]) == ("b", 3)
    assert found["partition"] in (0, 1)
    assert remembered(show(plain, "--json", "--key", "gone")) == []


def test_no_more_are_shown_than_asked_for(show: Show, plain: Stocked) -> None:
    assert [one["key"] for one in remembered(show(plain, "--json", "--max", "2"))] == [EVIL, "a"]


def test_a_worker_goes_on_undisturbed(show: Show, plain: Stocked) -> None:
    with plain.running() as worker:
        before = plain.positions()
        remembered(show(plain, "--json"))
        assert plain.positions() == before
        assert worker.said().count("assigned") == 1


def test_what_another_type_wrote_is_shown_as_it_was_written(show: Show, plain: Stocked) -> None:
    before = (plain.folder / "src/transformations/stock.py").read_text()
    try:
        plain.declare(code=CODE.replace("on_hand: int", "on_hand: str").replace(
            "event.units + (state.on_hand if state else 0)", "str(event.units)"
        ))  # fmt: skip
        result = show(plain, "--json", "--key", "a")
    finally:
        plain.declare(code=before)
    (found,) = remembered(result)
    assert (found["state"], found["fits"]) == ({"sku": "a", "on_hand": 4}, False)
    assert "the state is of another type than what was written" in result.err
    assert "on_hand" in result.err


def test_what_no_worker_wrote_is_told_from_states(show: Show, stack: Stack, tmp_path: Path) -> None:
    product = stocked(stack, tmp_path, keyed=True)
    product.provision()
    producer = Producer({"bootstrap.servers": stack.bootstrap_servers})
    topic = product.product.changelog_topic
    producer.produce(topic, b"\xa3new", STATE + b"x", 0)
    producer.produce(topic, b"\xc1", STATE + b"\xff", 0)
    assert producer.flush(15) == 0
    assert [(one["state"], one["fits"]) for one in remembered(show(product, "--json"))] == [
        ("new", False),
        ("wQ==", False),
    ]


def timed(
    stack: Stack, folder: Path, state: str, *moves: tuple[str, int, str], **more: Any
) -> Stocked:
    """A product with event times that has read these moves."""
    made = stocked(stack, folder, state, keyed=True, timed=True, **more)
    made.provision(partitions=1)
    for sku, units, at in moves:
        made.feed((sku, units), at=f"2026-03-01T{at}Z")
    made.run()
    return made


def test_windows_are_shown_with_start_and_end(show: Show, stack: Stack, tmp_path: Path) -> None:
    product = timed(
        stack,
        tmp_path,
        "{key: sku, window: {tumbling: 1_hour}, grace: 1_day}",
        ("a", 1, "10:05:00"), ("a", 2, "10:55:00"), ("a", 4, "11:00:00"), ("b", 8, "11:30:00"),
    )  # fmt: skip
    ten = {"start": "2026-03-01T10:00:00.000Z", "end": "2026-03-01T11:00:00.000Z"}
    eleven = {"start": "2026-03-01T11:00:00.000Z", "end": "2026-03-01T12:00:00.000Z"}

    found = remembered(show(product, "--json"))

    assert [(one["key"], one["window"], one["state"]["on_hand"]) for one in found] == [
        ("a", ten, 3),
        ("a", eleven, 4),
        ("b", eleven, 8),
    ]
    for start in ("2026-03-01T11:00", "2026-03-01T12:00:00+01:00"):
        alone = remembered(show(product, "--json", "--window", start))
        assert [one["key"] for one in alone] == ["a", "b"]
    (one,) = remembered(show(product, "--json", "--window", "2026-03-01T11:00", "--key", "b"))
    assert one["state"]["on_hand"] == 8
    lines = show(product).out.splitlines()
    assert "newest event of " in lines[1]
    assert f"{product.raw}:0 2026-03-01T11:30:00.000Z" in lines[1]
    assert lines[2].startswith(f"a  {ten['start']} to {ten['end']}  {{")


def test_sessions_are_shown_one_by_one(show: Show, stack: Stack, tmp_path: Path) -> None:
    product = timed(
        stack,
        tmp_path,
        "{key: sku, window: {session: 30_minutes}, grace: 1_day}",
        ("a", 1, "10:00:00"), ("a", 2, "10:20:00"), ("a", 4, "12:00:00"),
    )  # fmt: skip
    first = {"start": "2026-03-01T10:00:00.000Z", "end": "2026-03-01T10:20:00.000Z"}

    found = remembered(show(product, "--json"))

    assert [(one["window"]["start"], one["state"]["on_hand"]) for one in found] == [
        (first["start"], 3),
        ("2026-03-01T12:00:00.000Z", 4),
    ]
    (one,) = remembered(show(product, "--json", "--window", "2026-03-01T10:00"))
    assert one["window"] == first


def test_a_state_that_expires_is_shown_with_its_newest_event(
    show: Show, stack: Stack, tmp_path: Path
) -> None:
    product = timed(stack, tmp_path, "{key: sku, ttl: 90_days}", ("a", 1, "10:00:00"))
    (found,) = remembered(show(product, "--json"))
    assert found["last_event"] == "2026-03-01T10:00:00.000Z"
    assert found["state"]["on_hand"] == 1


def test_the_one_state_of_a_product_without_a_key_has_none(
    show: Show, stack: Stack, tmp_path: Path
) -> None:
    product = stocked(stack, tmp_path, "{}", keyed=False)
    product.provision()
    product.feed(*MOVES)
    product.run()
    (found,) = remembered(show(product, "--json"))
    assert (found["key"], found["state"]["on_hand"]) == (None, 11)
    assert "(no key)  {" in show(product).out
    refused = show(product, "--key", "a")
    assert refused.code == 2
    assert "one state for the whole product" in refused.err


def test_keys_that_json_does_not_have_are_shown_in_pairs(
    show: Show, stack: Stack, tmp_path: Path
) -> None:
    code = CODE.replace(
        "    on_hand: int\n", "    on_hand: int\n    by: dict[tuple[str, int], int] = {}\n"
    ).replace("state else 0))", "state else 0), {('x', 1): 2})")
    product = stocked(stack, tmp_path, keyed=True, code=code)
    product.provision()
    product.feed(("a", 1))
    product.run()
    (found,) = remembered(show(product, "--json"))
    assert dict(found["state"])["by"] == [[["x", 1], 2]]


def test_a_product_without_state_is_told_so(show: Show, stack: Stack, tmp_path: Path) -> None:
    product = stocked(stack, tmp_path, None, keyed=True)
    result = show(product)
    assert result.code == 2
    assert f"{product.name} remembers nothing: it declares no `state`" in result.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--window", "2026-03-01T10:00"), "the state has no windows"),
        (("--max", "0"), "--max"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(
    show: Show, plain: Stocked, options: tuple[str, ...], said: str
) -> None:
    result = show(plain, *options)
    assert result.code == 2
    assert said in result.err


def test_a_window_that_is_no_time_and_a_key_of_another_type_are_refused(
    show: Show, stack: Stack, tmp_path: Path
) -> None:
    code = CODE.replace("units: int", "units: int\n    shelf: int = 0")
    state = "{key: shelf, window: {tumbling: 1_hour}}"
    product = stocked(stack, tmp_path, state, keyed=False, code=code)
    for options, said in ((("--window", "noon"), "is no time"), (("--key", "x"), "is no int")):
        result = show(product, *options)
        assert result.code == 2
        assert said in result.err


def test_a_product_that_was_not_applied_is_told_the_command(
    show: Show, stack: Stack, tmp_path: Path
) -> None:
    result = show(stocked(stack, tmp_path, keyed=True))
    assert result.code == 2
    assert "changelog topic" in result.err
    assert "mesh-stream apply" in result.err


def test_an_unknown_product_is_told_which_was_meant(call: Call, plain: Stocked) -> None:
    result = call("state", plain.name[:-1], "--products", plain.products)
    assert result.code == 2
    assert f"did you mean {plain.name}" in result.err


def test_no_broker_is_exit_code_3(
    show: Show, plain: Stocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = choose([None])
    monkeypatch.setenv("MESH_BOOTSTRAP_SERVERS", f"127.0.0.1:{port}")
    monkeypatch.setattr("mesh_stream.kafka.client.REFUSED_SECONDS", 0.5)
    assert show(plain).code == 3
