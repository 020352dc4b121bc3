from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition

from mesh_stream.kafka import topics
from mesh_stream.kafka.client import Admin, admin
from mesh_stream.local.ports import choose
from mesh_stream.local.stack import Stack
from mesh_stream.mesh import reset
from mesh_stream.pipeline.entries import META, Meta
from tests.cli.calling import Call, Result, calling
from tests.deadline import eventually
from tests.kafka.harness import broker
from tests.kafka.reading import messages
from tests.kafka.stocked import Stocked, stocked

pytestmark = pytest.mark.kafka

Made = Callable[..., Stocked]
MOVES = (("a", 1), ("b", 2), ("c", 5), ("a", 3))
ON_HAND = {"a": 4, "b": 2, "c": 5}


@pytest.fixture
def made(stack: Stack, tmp_path: Path) -> Made:
    """A product that has read `MOVES` and remembers `ON_HAND`."""

    def made(*, keyed: bool, state: str | None = "{key: sku}", run: bool = True) -> Stocked:
        product = stocked(stack, tmp_path, state, keyed=keyed)
        product.provision()
        product.feed(*MOVES)
        if run:
            product.run()
        return product

    return made


@pytest.fixture
def call(
    made: Made, stack: Stack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Call]:  # fmt: skip
    env = Stocked(stack, tmp_path / "products", "any", keyed=True).environment
    with calling(capsys, monkeypatch, env) as call:
        yield call


@pytest.fixture
def client(stack: Stack) -> Admin:
    return broker.client(stack.bootstrap_servers)


def everything(product: Stocked) -> dict[str, Any]:
    """What a reset could change, as it is."""
    client = admin(product.settings)
    found = topics.describe(client, [product.raw, *product.product.own_topics])
    stores = product.settings.state / product.name
    return {
        "topics": {name: (one.id, one.partitions, one.settings) for name, one in found.items()},
        "positions": product.positions(),
        "stores": sorted(path for path in stores.rglob("*") if path.is_dir()),
        "changelog": [
            (one.partition(), one.offset(), one.key())
            for one in messages(product.stack, product.product.changelog_topic)
        ],
    }


def delete_records(client: Admin, product: Stocked, upto: dict[int, int]) -> None:
    """Have retention remove what lies before these offsets of the raw topic."""
    places = [TopicPartition(product.raw, number, offset) for number, offset in upto.items()]
    for future in client.delete_records(places).values():
        future.result(15)


def fullest(product: Stocked) -> tuple[int, int]:
    """The raw partition with the most records, and how many it has."""
    ends = broker.ends(broker.client(product.stack.bootstrap_servers), [product.raw], stable=False)
    (_, number), end = max(ends.items(), key=lambda one: one[1])
    return number, end


def metas(product: Stocked) -> dict[int, Meta]:
    """What the changelog says of the input, by partition."""
    found = {}
    for message in messages(product.stack, product.product.changelog_topic):
        value, number = message.value(), message.partition()
        if message.key() == META and value is not None and number is not None:
            found[number] = msgspec.msgpack.decode(value, type=Meta)
    return found


def ok(result: Result) -> Result:
    assert result.code == 0, result.err
    return result


@pytest.mark.parametrize(("keyed", "options"), [(True, ()), (False, ("--keep-position",))])
def test_nothing_is_changed_without_yes(
    call: Call, made: Made, keyed: bool, options: tuple[str, ...]
) -> None:
    product = made(keyed=keyed)
    before = everything(product)

    result = ok(call("reset", product.name, *options))

    assert everything(product) == before
    command = " ".join(["mesh-stream reset", product.name, *options, "--yes"])
    assert f"nothing was changed; `{command}` does it" in result.out
    assert f"delete changelog topic mesh.{product.name}.changelog" in result.out
    assert str(product.settings.state / product.name) in result.out
    assert f"{product.raw}[0]: offsets 0 to" in result.out


@pytest.mark.parametrize("keyed", [True, False])
def test_a_product_that_was_reset_remembers_the_same_again(
    call: Call, made: Made, keyed: bool
) -> None:
    product = made(keyed=keyed)
    published = len(product.facts())
    before = everything(product)

    result = ok(call("reset", product.name, "--yes"))

    assert "done: delete the offsets of group" in result.out
    assert product.positions() == {}
    assert metas(product) == {}
    assert not (product.settings.state / product.name).exists()
    after = everything(product)["topics"]
    for name in product.product.own_topics:
        assert after[name][0] != before["topics"][name][0]
        assert after[name][1:] == before["topics"][name][1:]
    product.run()
    assert len(product.facts()) > published
    assert product.newest() == ON_HAND
    product.feed(("a", 1))
    product.run()
    assert product.newest() == {**ON_HAND, "a": 5}


@pytest.mark.parametrize("keyed", [True, False])
def test_with_its_position_kept_a_product_goes_on_with_an_empty_state(
    call: Call, made: Made, keyed: bool
) -> None:
    product = made(keyed=keyed)
    published = len(product.facts())
    raw = {place: at for place, at in product.positions().items() if place[0] == product.raw}

    ok(call("reset", product.name, "--keep-position", "--yes"))

    positions = product.positions()
    assert {place: at for place, at in positions.items() if place[0] == product.raw} == raw
    source = product.raw if keyed else product.product.repartition_topic
    assert {number: meta.offset for number, meta in metas(product).items()} == {
        number: at for (topic, number), at in positions.items() if topic == source
    }
    product.run()
    assert len(product.facts()) == published
    product.feed(("a", 7))
    product.run()
    assert product.newest() == {**ON_HAND, "a": 7}


def test_nothing_is_reset_while_a_worker_runs(call: Call, made: Made) -> None:
    product = made(keyed=True)
    with product.running():
        before = everything(product)
        shown = ok(call("reset", product.name))
        refused = call("reset", product.name, "--yes")
        assert everything(product) == before
    assert refused.code == 1
    for said in (shown.out, refused.err):
        assert f"1 worker in group mesh.{product.name}: mesh.{product.name}.0 on /127.0.0.1" in said
        assert "stop all of its workers" in said


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def kill_before(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Have the next reset be killed before one of its steps."""
    planned = reset.steps

    def steps(*arguments: Any) -> list[reset.Step]:
        def die() -> None:
            raise Killed

        found = planned(*arguments)
        return [*found[:number], reset.Step("die", die), *found[number:]]

    monkeypatch.setattr(reset, "steps", steps)


@pytest.mark.parametrize(("keyed", "last"), [(True, 2), (False, 4)])
def test_a_reset_that_was_killed_is_refused_or_right_and_finished_by_another(
    call: Call, made: Made, monkeypatch: pytest.MonkeyPatch, keyed: bool, last: int
) -> None:
    product = made(keyed=keyed)
    client = broker.client(product.stack.bootstrap_servers)
    on_hand = ON_HAND
    for number in range(1, last + 1):
        with monkeypatch.context() as patched:
            kill_before(patched, number)
            with pytest.raises(Killed):
                call("reset", product.name, "--yes")

        # The worst that may happen now: what is missing is provided, and a worker starts.
        ok(call("apply", product.name))
        product.feed(("a", 1))
        on_hand = {**on_hand, "a": on_hand["a"] + 1}
        _refused_or_right(product, on_hand)
        eventually(
            lambda: not broker.members(client, f"mesh.{product.name}"),
            within=20,
            what="the worker is gone from the group",
        )
        ok(call("reset", product.name, "--yes"))
        product.run()
        assert product.newest() == on_hand, number


def _refused_or_right(product: Stocked, on_hand: dict[str, int]) -> None:
    """Have a worker start after half a reset, and be killed if it runs."""
    slot = product.slot()
    slot.start()
    with product.lagging() as lag:
        eventually(
            lambda: not slot.alive() or (slot.is_reading() and lag() == 0),
            within=30,
            what="refused, or all was read",
        )
    if slot.alive():
        slot.end()
        assert product.newest() == on_hand
    else:
        assert slot.wait(1) == 2, slot.said()
        assert f"`mesh-stream reset {product.name}`" in slot.said()


@pytest.mark.parametrize(("keyed", "numbers"), [(True, (1, 2)), (False, (1, 4))])
def test_a_reset_that_keeps_positions_is_finished_by_another(
    call: Call, made: Made, monkeypatch: pytest.MonkeyPatch, keyed: bool, numbers: tuple[int, ...]
) -> None:
    product = made(keyed=keyed)
    for number in numbers:
        with monkeypatch.context() as patched:
            kill_before(patched, number)
            with pytest.raises(Killed):
                call("reset", product.name, "--keep-position", "--yes")

        ok(call("reset", product.name, "--keep-position", "--yes"))

        # Whatever was on hand before is forgotten: also what the turn before this one fed.
        product.feed(("a", 7))
        product.run()
        assert product.newest() == {**ON_HAND, "a": 7}, number


def test_an_input_with_more_partitions_is_accepted(call: Call, made: Made, client: Admin) -> None:
    product = made(keyed=True)
    topics.add_partitions(client, product.raw, 3)
    assert "mesh-stream reset" in product.refusal()

    ok(call("reset", product.name, "--yes"))

    assert "no changes" in ok(call("plan", product.name)).out
    product.feed(("d", 1), ("e", 2), ("f", 3), ("g", 4))
    product.run()
    more = {"d": 1, "e": 2, "f": 3, "g": 4}
    assert product.newest() == ON_HAND | more


@pytest.mark.parametrize("state", ["{key: sku}", None])
def test_what_retention_removed_unread_is_counted_and_accepted(
    call: Call, made: Made, client: Admin, state: str | None
) -> None:
    product = made(keyed=True, state=state)
    number, end = fullest(product)
    product.feed(*MOVES)
    delete_records(client, product, {number: end + 1})
    refusal = product.refusal()
    assert "retention removed 1 records" in refusal
    assert f"`mesh-stream reset {product.name}`" in refusal

    shown = ok(call("reset", product.name, "--keep-position"))
    ok(call("reset", product.name, "--keep-position", "--yes"))

    assert "1 record that retention has removed unread are skipped" in shown.out
    assert product.positions()[product.raw, number] == end + 1
    product.run()
    assert product.lag() == 0


@pytest.mark.parametrize("options", [(), ("--keep-position",)])
@pytest.mark.parametrize("state", ["{key: sku}", None])
def test_an_input_that_was_created_anew_is_accepted(
    call: Call, made: Made, client: Admin, state: str | None, options: tuple[str, ...]
) -> None:
    product = made(keyed=True, state=state)
    broker.delete_topic(client, product.raw)
    topics.create(client, product.raw, partitions=2, replicas=1, settings={})
    product.feed(("z", 9))
    if state is not None:
        assert "mesh-stream reset" in product.refusal()

    ok(call("reset", product.name, *options, "--yes"))

    product.run()
    assert product.newest()["z"] == 9


def test_an_offset_that_somebody_set_is_accepted_where_events_go_to_be_keyed(
    call: Call, made: Made
) -> None:
    product = made(keyed=False)
    group = product.product.group
    consumer = Consumer({"bootstrap.servers": product.stack.bootstrap_servers, "group.id": group})
    consumer.commit(offsets=[TopicPartition(product.raw, 0, 0)], asynchronous=False)
    consumer.close()
    assert f"the group's offset of {product.raw}[0], 0, was set by hand" in product.refusal()

    ok(call("reset", product.name, "--keep-position", "--yes"))

    product.run()
    assert product.lag() == 0


def test_a_product_that_stands_well_and_remembers_nothing_has_nothing_to_reset(
    call: Call, made: Made
) -> None:
    product = made(keyed=True, state=None)

    result = ok(call("reset", product.name, "--keep-position", "--yes"))

    assert result.out.startswith("nothing to do")


def test_a_script_gets_one_document(call: Call, made: Made) -> None:
    product = made(keyed=False)

    shown = json.loads(ok(call("reset", product.name, "--json")).out)
    done = json.loads(ok(call("reset", product.name, "--yes", "--json")).out)

    assert (shown["done"], done["done"]) == (False, True)
    assert shown["steps"] == done["steps"]
    assert [one["role"] for one in shown["topics"]] == ["repartition", "changelog"]
    read = {(one["topic"], one["partition"]): one["committed"] for one in shown["positions"]}
    assert sum(at or 0 for (topic, _), at in read.items() if topic == product.raw) == len(MOVES)
    assert all(one["next"] is None for one in shown["positions"])


def test_a_product_without_its_input_is_told_so(call: Call, stack: Stack, tmp_path: Path) -> None:
    product = stocked(stack, tmp_path, keyed=True)
    result = call("reset", product.name)
    assert result.code == 2
    assert f"input topic {product.raw} does not exist" in result.err


def test_a_product_that_never_ran_can_be_reset(call: Call, made: Made) -> None:
    product = made(keyed=False, run=False)
    ok(call("reset", product.name, "--yes"))
    product.run()
    assert product.newest() == ON_HAND


def test_an_unknown_product_is_told_which_was_meant(
    call: Call, stack: Stack, tmp_path: Path
) -> None:
    product = stocked(stack, tmp_path, keyed=True)
    result = call("reset", product.name[:-1])
    assert result.code == 2
    assert f"did you mean {product.name}" in result.err


def test_no_broker_is_exit_code_3(
    call: Call, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = stocked(stack, tmp_path, keyed=True)
    (port,) = choose([None])
    monkeypatch.setenv("MESH_BOOTSTRAP_SERVERS", f"127.0.0.1:{port}")
    monkeypatch.setattr("mesh_stream.kafka.client.REFUSED_SECONDS", 0.5)
    assert call("reset", product.name).code == 3
