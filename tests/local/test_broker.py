from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mesh_stream.local import broker, registry
from mesh_stream.local.broker import Node, prepare, settings
from mesh_stream.local.ports import HOST, choose
from mesh_stream.local.stack import Stack

ONE = [Node(1, 9092, 20001)]
THREE = [Node(1, 9092, 20001), Node(2, 9093, 20002), Node(3, 9094, 20003)]


@contextmanager
def server(reply: bytes) -> Iterator[int]:
    """Something else that listens: whatever it is sent, it answers this and hangs up."""
    with socket.create_server((HOST, 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@pytest.mark.parametrize("nodes", [ONE, THREE])
def test_every_listener_is_on_loopback(nodes: list[Node]) -> None:
    for node in nodes:
        made = settings(node, nodes, Path("/data"))
        for address in f"{made['listeners']},{made['advertised.listeners']}".split(","):
            assert address.split("://")[1].startswith("127.0.0.1:")


def test_three_brokers_keep_three_copies_and_write_two() -> None:
    made = settings(THREE[0], THREE, Path("/data"))

    factors = {value for name, value in made.items() if name.endswith("replication.factor")}
    minimums = {
        value for name, value in made.items() if name.endswith(("min.isr", "sync.replicas"))
    }
    assert factors == {"3"}
    assert minimums == {"2"}
    assert made["controller.quorum.voters"].count("@") == 3


def test_one_broker_asks_for_no_copies() -> None:
    made = settings(ONE[0], ONE, Path("/data"))

    assert {value for name, value in made.items() if name.endswith("replication.factor")} == {"1"}


def test_a_configuration_is_plain_ascii_whatever_the_folder(tmp_path: Path) -> None:
    data = tmp_path / "dätä \\ x"
    data.mkdir()

    text = prepare(ONE[0], ONE, data).read_text(encoding="ascii")

    assert r"d\u00e4t\u00e4 \\ x/broker-1/log" in text


@pytest.mark.parametrize(
    "reply", [b"", b"HTTP/1.0 400 Bad Request\r\n\r\n", bytes(10), b"\0\0\0\x06\0\0\0\x07\0\x23"]
)
def test_what_is_no_broker_in_order_does_not_answer_as_one(reply: bytes) -> None:
    with server(reply) as port:
        assert not broker.answers(port)


@pytest.mark.parametrize("reply", [b"", b"nonsense", b"HTTP/1.0 500 Internal Server Error\r\n\r\n"])
def test_what_is_no_registry_in_order_does_not_answer_as_one(reply: bytes) -> None:
    with server(reply) as port:
        assert not registry.answers(port)


@pytest.mark.parametrize("answers", [broker.answers, registry.answers])
def test_nobody_does_not_answer(answers: Callable[[int], bool]) -> None:
    [port] = choose([None])

    assert not answers(port)


@pytest.mark.kafka
def test_each_part_answers_as_itself_only(stack: Stack) -> None:
    assert broker.answers(stack.brokers[0].port)
    assert registry.answers(stack.registry.port)
    assert not broker.answers(stack.registry.port)
    assert not registry.answers(stack.brokers[0].port)
