from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from confluent_kafka import Producer

from mesh_stream.local import ports
from mesh_stream.local.stack import Stack
from tests.cli.calling import Call, calling, environment, started
from tests.cli.test_run import until
from tests.kafka.declaring import unique
from tests.product.seed import declaration, write

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def names() -> tuple[str, str]:
    """One that is provisioned, and one that is not."""
    return unique("there"), unique("nowhere")


@pytest.fixture(scope="module")
def products(
    stack: Stack, names: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    root = tmp_path_factory.mktemp("monitor") / "products"
    for name in names:
        text = declaration(name, more=f"inputs: [{{topic: raw.{name}}}]")
        write(root, f"orders/{name}", {"data_product.yaml": text})
    with started("apply", names[0], "--create-inputs", env=environment(stack, root)) as applying:
        _, said = applying.communicate(timeout=60)
        assert applying.returncode == 0, said
    return root


@pytest.fixture
def call(
    stack: Stack,
    products: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Call]:
    with calling(capsys, monkeypatch, environment(stack, products)) as one:
        yield one


def test_once_prints_a_table_and_ends_well_where_all_is(call: Call, names: tuple[str, str]) -> None:
    found = call("monitor", names[0], "--once")
    assert found.code == 0, found
    assert found.err == ""
    head, row = (re.split(r"  +", line) for line in found.out.splitlines())
    assert head == [
        "PRODUCT", "STATE", "BLAME", "NEWEST FACT", "OBJECTIVE", "WAITING", "UNREAD", "WORKERS",
    ]  # fmt: skip
    assert row == [
        f"orders/{names[0]}", "idle", "-", "none", "15 min", "nothing", "0",
        "none has said anything",
    ]  # fmt: skip


def test_once_of_one_that_cannot_be_seen_says_why_and_fails(
    call: Call, names: tuple[str, str]
) -> None:
    there, nowhere = names
    found = call("monitor", "--once")
    assert found.code == 1
    lines = found.out.splitlines()
    assert len(lines) == 4
    assert any(re.match(rf"orders/{nowhere} +unknown +unseen ", line) for line in lines)
    assert any(re.match(rf"orders/{there} +idle +- ", line) for line in lines)
    # All that is missing, in one line.
    assert lines[-1].startswith(f"{nowhere}: topic raw.{nowhere} does not exist; topic orders.")


def test_json_is_one_document_and_nothing_else(call: Call, names: tuple[str, str]) -> None:
    there, nowhere = names
    found = call("monitor", "--once", "--json")
    assert found.code == 1
    documents = {one["product"]: one for one in json.loads(found.out)}
    assert documents.keys() == {there, nowhere}
    at, seen_at = documents[there].pop("at"), documents[there].pop("seen_at")
    assert seen_at <= at
    assert documents[there] == {
        "product": there,
        "domain": "orders",
        "owner": "orders-team",
        "state": "idle",
        "blame": None,
        "objective_seconds": 900.0,
        "cadence_seconds": 0.0,
        "newest_fact": None,
        "newest_fact_age_seconds": None,
        "newest_input": None,
        "last_asked": None,
        "waiting": None,
        "unread_records": 0,
        "dead_letters_kept_records": 0,
        "problem": None,
        "workers": [],
    }
    gone = documents[nowhere]
    assert (gone["state"], gone["blame"], gone["seen_at"]) == ("unknown", "unseen", None)
    assert "does not exist" in gone["problem"]


def test_what_waits_is_told_before_it_is_overdue_and_fails_once_it_is(
    call: Call, stack: Stack, names: tuple[str, str]
) -> None:
    producer = Producer({"bootstrap.servers": stack.bootstrap_servers})
    for age, code in ((60, 0), (3_600, 1)):
        # The two records are put on partitions of their own: the one that is due first counts.
        stamp = int((time.time() - age) * 1000)
        producer.produce(f"raw.{names[0]}", b"{}", partition=code, timestamp=stamp)
        assert producer.flush(15) == 0
        found = call("monitor", names[0], "--once", "--json")
        assert found.code == code, found
        (document,) = json.loads(found.out)
        assert document["unread_records"] == 1 + code
        assert document["waiting"]["arrived"] == document["waiting"]["event_time"]
        assert document["state"] == ("stale" if code else "idle")
        assert document["blame"] == ("own" if code else None)
    table = call("monitor", names[0], "--once").out
    assert re.search(r"  stale +own +none +15 min +since 1 h( \d+ s)? +2 ", table), table


@pytest.mark.parametrize(
    "wrong",
    [
        ("--json",),
        ("nobody", "--once"),
        ("--domain", "nobody", "--once"),
        ("--minute", "0.1"),
        ("--minute", "61"),
        ("--metrics-port", "65536"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Call, wrong: tuple[str, ...]) -> None:
    found = call("monitor", *wrong)
    assert (found.code, found.out) == (2, "")
    assert "Error" in found.err


def test_a_broken_declaration_is_told_and_nothing_is_asked(call: Call, tmp_path: Path) -> None:
    write(tmp_path / "other", "shop/customers", {"data_product.yaml": "a: ["})
    found = call("monitor", "--once", "--products", tmp_path / "other")
    assert found.code == 2
    assert "customers/data_product.yaml:1" in found.err


def test_a_broker_that_is_away_is_no_verdict(
    call: Call, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str]
) -> None:
    (port,) = ports.choose([None])
    monkeypatch.setenv("MESH_BOOTSTRAP_SERVERS", f"127.0.0.1:{port}")
    found = call("monitor", names[0], "--once", "--json")
    assert (found.code, found.out) == (3, "")
    assert f"127.0.0.1:{port}" in found.err


def test_help_says_what_it_needs_and_how_it_ends(call: Call) -> None:
    text = " ".join(call("monitor", "--help").out.split())
    for said in (
        "joins no group and writes nothing",
        "Describe on the products' topics and groups, and Read on the topics",
        "restart it when they have changed",
        "exits with 0 where all are fresh or idle, with 1 where one is stale or unknown",
        "with 3 where the broker does not answer",
        "[default: 127.0.0.1]",
        "[default: 9390;",
    ):
        assert said in text


def test_it_serves_until_it_is_stopped_and_a_second_one_says_that_its_port_is_taken(
    stack: Stack, products: Path, names: tuple[str, str]
) -> None:
    (port,) = ports.choose([None])
    arguments = ["monitor", names[0], "--minute", "1", "--metrics-port", str(port)]
    env = environment(stack, products)
    with started(*arguments, env=env) as first:
        until(first, f"monitor: http://127.0.0.1:{port}/metrics")
        with started(*arguments, env=env) as second:
            _, said = second.communicate(timeout=30)
        assert second.returncode == 3
        assert f"127.0.0.1:{port}" in said
        assert "--metrics-port" in said
        with urlopen(f"http://127.0.0.1:{port}/-/healthy", timeout=10) as answer:
            assert answer.status == 200
        with urlopen(f"http://127.0.0.1:{port}/targets", timeout=10) as answer:
            assert json.load(answer) == []
        asked = time.monotonic()
        first.send_signal(signal.SIGTERM)
        _, said = first.communicate(timeout=20)
        assert first.returncode == 0, said
        assert "Traceback" not in said
        assert time.monotonic() - asked < 10
