from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from mesh_stream.kafka.registry import SchemaRegistry
from mesh_stream.local.ports import choose
from mesh_stream.local.stack import Stack
from mesh_stream.testing import ProductDriver
from tests.cli.calling import Call, calling, environment, started
from tests.kafka.declaring import settings_of, unique

pytestmark = pytest.mark.kafka

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"
"""What would retitle a terminal, clear it, colour it, and turn the text round."""
SEED = Path(__file__).parents[2] / "products" / "orders" / "orders-completed"


class Product:
    """A provisioned copy of the seed's product; facts and dead letters are put on its topics."""

    def __init__(self, stack: Stack, root: Path) -> None:
        self.name, self.products = unique("tailed"), root
        folder = root / "orders" / self.name
        shutil.copytree(SEED, folder, ignore=shutil.ignore_patterns("__pycache__"))
        for file in (folder / "data_product.yaml", folder / "schema" / "orders-completed.yaml"):
            text = file.read_text().replace("name: orders-completed", f"name: {self.name}")
            file.write_text(text.replace("raw.orders", f"raw.{self.name}"))
        self.driver = ProductDriver.load(folder)
        self._stack = stack

    def publish(self, *orders: dict[str, Any]) -> None:
        """Put the facts of completed orders, and the dead letters of others, on the topics."""
        product = self.driver.product
        with SchemaRegistry(settings_of(self._stack)) as registry:
            registered = registry.lookup(product.subject, product.contract.canonical)
        assert registered is not None
        frame = b"\x00" + registered.schema_id.to_bytes(4, "big")
        for order in orders:
            before = len(self.driver.published), len(self.driver.rejected)
            self.driver.send(order, key=str(order["order_id"]))
            for fact in self.driver.published[before[0] :]:
                self.put(
                    product.output.topic, fact.value.replace(fact.value[:5], frame, 1), fact.key
                )
            for letter in self.driver.rejected[before[1] :]:
                value, key = letter.message.value(), letter.message.key()
                self.put(product.dead_letter_topic, value, key, letter.headers)

    def put(
        self, topic: str, value: bytes | None, key: bytes | None = None, headers: Any = None
    ) -> None:
        producer = Producer({"bootstrap.servers": self._stack.bootstrap_servers})
        producer.produce(topic, value, key, partition=0, headers=headers)
        assert producer.flush(15) == 0


def order(order_id: str, price: str = "2.55", **more: Any) -> dict[str, Any]:
    items = [{"sku": "a", "qty": 6, "unit_price": price}]
    return {
        "order_id": order_id,
        "status": "completed",
        "occurred_at": "2026-03-01T12:00:00.123+01:00",
        "customer_id": "cust_1",
        "items": items,
        **more,
    }


@pytest.fixture(scope="module")
def product(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Product:
    made = Product(stack, tmp_path_factory.mktemp("tail") / "products")
    env = environment(stack, made.products)
    with started("apply", "--create-inputs", env=env) as applying:
        _, said = applying.communicate(timeout=60)
        assert applying.returncode == 0, said
    made.publish(order("ord_1"), order("ord_2", "0.10"), order("ord_3", "-1"), order("ORD4"))
    made.publish(order("ord_5", customer_id=EVIL))
    declared = made.driver.product
    made.put(declared.output.topic, b'{"order_id":"canary"}')
    made.put(declared.output.topic, None, b"ord_1")
    headers = [("mesh.dlq.rule", EVIL.encode()), (EVIL, EVIL.encode())]
    made.put(declared.dead_letter_topic, EVIL.encode(), b"\xff\x1b[2J", headers)
    return made


@pytest.fixture
def call(
    product: Product,
    stack: Stack,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Call]:
    with calling(capsys, monkeypatch, environment(stack, product.products)) as made:
        yield made


def test_facts_are_printed_for_people(call: Call, product: Product) -> None:
    result = call("tail", product.name, "--from-beginning", "--max", "2")
    first, second = result.out.splitlines()
    assert first.startswith(f"orders.{product.name}.v1[0]@0  20")
    assert first.endswith(
        'order_id="ord_1" customer_id="cust_1" total_amount=15.30 '
        "completed_at=2026-03-01T11:00:00.123000Z units=6"
    )
    assert 'order_id="ord_2"' in second
    assert "total_amount=0.60" in second
    assert result.code == 0


def test_each_json_line_is_a_fact_and_nothing_else_is_on_standard_output(
    call: Call, product: Product
) -> None:
    result = call("tail", product.name, "--from-beginning", "--max", "2", "--json")
    first, second = map(json.loads, result.out.splitlines())
    assert first == {
        "order_id": "ord_1",
        "customer_id": "cust_1",
        "total_amount": "15.30",
        "completed_at": "2026-03-01T11:00:00.123000Z",
        "units": 6,
    }
    assert second["total_amount"] == "0.60"
    assert f"reading orders.{product.name}.v1" in result.err


def test_dead_letters_say_why_and_from_where_but_not_what(call: Call, product: Product) -> None:
    result = call("tail", product.name, "--dead-letters", "--from-beginning", "--max", "2")
    first, second = result.out.splitlines()
    assert first.startswith(f"dlq.orders.{product.name}[0]@0  ")
    assert f"contract/total_amount_between  from raw.{product.name}[0]@2  " in first
    assert "contract/order_id_match_regex" in second
    assert "ord_3" not in result.out
    assert "ORD4" not in result.out
    assert "cust_1" not in result.out


def test_a_payload_is_shown_on_request(call: Call, product: Product) -> None:
    result = call(
        "tail", product.name, "--dead-letters", "--payload", "--from-beginning", "--max", "1"
    )
    _, key, value = result.out.splitlines()
    assert key == "    key: ord_3"
    assert json.loads(value.removeprefix("    value: "))["order_id"] == "ord_3"


def test_dead_letters_as_json(call: Call, product: Product) -> None:
    options = ("--dead-letters", "--from-beginning", "--max", "1", "--json")
    bare = json.loads(call("tail", product.name, *options).out)
    assert bare["class"] == "contract"
    assert bare["rule"] == "total_amount_between"
    assert bare["origin"] == {"topic": f"raw.{product.name}", "partition": 0, "offset": 2}
    assert bare["attempts"] == 1
    assert bare["id"] == f"raw.{product.name}-0-2"
    assert not {"key", "value", "headers"} & bare.keys()
    whole = json.loads(call("tail", product.name, *options, "--payload").out)
    assert whole["key"] == "ord_3"
    assert json.loads(whole["value"])["order_id"] == "ord_3"
    assert whole["headers"] == []


def test_nothing_that_a_terminal_would_obey_is_printed(call: Call, product: Product) -> None:
    facts = call("tail", product.name, "--from-beginning", "--max", "3")
    letters = call(
        "tail", product.name, "--dead-letters", "--payload", "--from-beginning", "--max", "3"
    )
    for result in (facts, letters):
        assert "owned" in result.out
        assert all(line.isprintable() for line in result.out.splitlines())
        assert not set(result.out) & {"\x1b", "\x07", "\x9b", "\u202e"}


def test_what_is_no_fact_is_told_and_skipped(call: Call, product: Product) -> None:
    result = call("tail", product.name, "--from-beginning", "--max", "4")
    assert "@3 is no fact: found no schema id" in result.err
    assert "canary" not in result.err + result.out
    assert result.out.splitlines()[3].endswith("Z  tombstone")


def test_new_facts_are_printed_as_they_come_until_ctrl_c(stack: Stack, product: Product) -> None:
    env = environment(stack, product.products)
    with started("tail", product.name, "--json", env=env) as tail:
        assert tail.stderr is not None
        assert tail.stdout is not None
        assert "reading" in tail.stderr.readline()
        product.publish(order("ord_new"))
        assert json.loads(tail.stdout.readline())["order_id"] == "ord_new"
        tail.send_signal(signal.SIGINT)
        rest, said = tail.communicate(timeout=15)
        assert (tail.returncode, rest) == (0, "")
        assert "Traceback" not in said


def test_a_reader_that_has_seen_enough_is_no_failure(stack: Stack, product: Product) -> None:
    env = environment(stack, product.products)
    with started("tail", product.name, "--from-beginning", env=env) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        assert tail.stdout.readline()
        tail.stdout.close()
        product.publish(*(order(f"ord_{number}") for number in range(20)))
        said = tail.stderr.read()
        assert tail.wait(15) == 0
        assert "Traceback" not in said
        assert "BrokenPipe" not in said


def test_an_unknown_product_is_told_which_there_are(call: Call, product: Product) -> None:
    result = call("tail", "no-such-product")
    assert result.code == 2
    assert f"no product is called 'no-such-product'; there are: {product.name}" in result.err


def test_a_product_that_was_not_applied_is_told_the_command(
    call: Call, stack: Stack, tmp_path: Path
) -> None:
    other = Product(stack, tmp_path)
    result = call("tail", other.name, "--products", tmp_path)
    assert result.code == 2
    assert f"topic orders.{other.name}.v1 does not exist" in result.err
    assert "mesh-stream apply" in result.err


def test_a_payload_without_dead_letters_is_a_usage_error(call: Call, product: Product) -> None:
    assert call("tail", product.name, "--payload").code == 2


def test_no_broker_is_exit_code_3(
    call: Call, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = choose([None])
    monkeypatch.setenv("MESH_BOOTSTRAP_SERVERS", f"127.0.0.1:{port}")
    monkeypatch.setattr("mesh_stream.kafka.client.REFUSED_SECONDS", 0.5)
    result = call("tail", product.name)
    assert result.code == 3
    assert "is the broker running" in result.err
