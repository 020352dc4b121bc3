from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from mesh_stream.errors import MeshError
from mesh_stream.local import ports, process
from mesh_stream.local.extra import require
from mesh_stream.local.folder import locked
from mesh_stream.local.stack import (
    LAYOUT,
    STATE,
    Stack,
    data_folder,
    ephemeral,
    kill,
    running,
    start,
    stop,
)
from tests.deadline import eventually

# A client whose broker is killed says so at length on stderr.
QUIET = {"log_level": "0"}


def admin(stack: Stack) -> AdminClient:
    return AdminClient({"bootstrap.servers": stack.bootstrap_servers, **QUIET})


def create(stack: Stack, topic: str, partitions: int = 1) -> None:
    client = admin(stack)
    client.create_topics([NewTopic(topic, partitions)])[topic].result(30)


def topics(stack: Stack) -> set[str]:
    return set(admin(stack).list_topics(timeout=10).topics)


def send(stack: Stack, topic: str, value: bytes, *, within: float = 30) -> KafkaError | None:
    """Send one record; returns why it was not taken, if it was not."""
    settings = {"bootstrap.servers": stack.bootstrap_servers, **QUIET}
    producer = Producer({**settings, "message.timeout.ms": int(within * 1000)})
    outcome: list[KafkaError | None] = []
    producer.produce(topic, value, on_delivery=lambda error, _: outcome.append(error))
    assert producer.flush(within + 5) == 0
    return outcome[0]


def first(stack: Stack, topic: str) -> bytes | None:
    consumer = Consumer(
        {
            "bootstrap.servers": stack.bootstrap_servers,
            "group.id": uuid.uuid4().hex,
            "auto.offset.reset": "earliest",
            **QUIET,
        }
    )
    consumer.subscribe([topic])
    try:
        message = consumer.poll(30)
        assert message is not None
        assert message.error() is None
        return message.value()
    finally:
        consumer.close()


def register(stack: Stack, subject: str) -> int:
    answer = httpx.post(
        f"{stack.registry_url}/subjects/{subject}/versions",
        json={"schema": '{"type":"record","name":"Fact","fields":[]}'},
    )
    answer.raise_for_status()
    identity: int = answer.json()["id"]
    return identity


def registered(stack: Stack, subject: str) -> int:
    answer = httpx.get(f"{stack.registry_url}/subjects/{subject}/versions/latest")
    answer.raise_for_status()
    identity: int = answer.json()["id"]
    return identity


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Usual ports of this test's own: 9092 may be somebody's on the machine that runs it."""
    broker, registry = ports.choose([None, None])
    monkeypatch.setattr(ports, "BROKER", broker)
    monkeypatch.setattr(ports, "REGISTRY", registry)
    return broker, registry


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose stack, if any is left, is ended."""
    folder = tmp_path / "stack"
    yield folder
    process.end(process.parts_alive(folder), gently=False)


@pytest.mark.kafka
def test_the_stack_serves_on_loopback_only(stack: Stack) -> None:
    psutil = require("psutil")
    brokers = admin(stack).list_topics(timeout=10).brokers

    assert [broker.host for broker in brokers.values()] == ["127.0.0.1"]
    found = running(stack.data)
    assert found is not None
    for part in found.parts:
        listening = [
            connection.laddr.ip
            for connection in psutil.Process(part.pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert set(listening) == {"127.0.0.1"}


@pytest.mark.kafka
def test_a_second_start_shares_the_running_stack(stack: Stack) -> None:
    # The fixture's process ids are those of the start; another test may have restarted a part.
    found = running(stack.data)

    assert found is not None
    assert start(stack.data) == found == running(stack.data)
    assert found.bootstrap_servers == stack.bootstrap_servers


@pytest.mark.kafka
def test_a_running_stack_is_not_shared_as_another_number_of_brokers(stack: Stack) -> None:
    before = running(stack.data)

    with pytest.raises(MeshError, match=r"1 broker\(s\), and 3 were asked for; --fresh"):
        start(stack.data, brokers=3)

    assert before is not None
    # A part that is late with its answer, on a busy machine, is no running one.
    assert eventually(lambda: running(stack.data), within=20, what="it answers") == before


@pytest.mark.kafka
def test_a_topic_nobody_made_is_not_made_by_its_name(stack: Stack) -> None:
    name = f"misspelt-{uuid.uuid4().hex}"

    refused = send(stack, name, b"lost?", within=2)

    assert refused is not None
    assert name not in topics(stack)


class _Impostor(BaseHTTPRequestHandler):
    """Answers as another stack's registry would."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.mark.kafka
def test_two_stacks_that_start_at_once_do_not_take_each_other_s_parts_for_their_own(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadingHTTPServer((ports.HOST, 0), _Impostor) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        taken, choose = other.server_port, ports.choose
        chosen: list[list[int]] = []

        def quicker(wanted: Sequence[int | None]) -> list[int]:
            found = choose(wanted)
            if not chosen:
                # The port was free when we looked, and is not any more.
                found[1] = taken
            chosen.append(found)
            return found

        monkeypatch.setattr(ports, "choose", quicker)
        stack = start(data)
        other.shutdown()

    assert len(chosen) == 2
    assert stack.registry.port == chosen[1][1] != taken
    assert register(stack, "own-value") == registered(stack, "own-value")


@pytest.mark.kafka
def test_a_stack_that_is_busy_for_a_while_is_a_running_one(stack: Stack) -> None:
    kill(stack, "broker-1", signal.SIGSTOP)
    # Longer than one question waits for its answer.
    busy = threading.Timer(3, kill, (stack, "broker-1", signal.SIGCONT))
    busy.start()
    try:
        assert running(stack.data) is not None
    finally:
        busy.join()


@pytest.mark.kafka
def test_a_frozen_stack_is_not_a_running_one(stack: Stack) -> None:
    kill(stack, "registry", signal.SIGSTOP)
    try:
        assert running(stack.data) is None
    finally:
        kill(stack, "registry", signal.SIGCONT)

    eventually(lambda: running(stack.data), within=10, what="the stack answers again")


DIE_WHILE_STARTING = """
import os, sys
from pathlib import Path
from mesh_stream.local import stack
stack._await = lambda *_: os.kill(os.getpid(), 9)
stack.start(Path(sys.argv[1]), usual_ports=False)
"""


@pytest.mark.kafka
def test_a_stack_from_start_to_end(data: Path, usual: tuple[int, int]) -> None:
    # Whoever starts it first is killed when the parts run and nothing is written down.
    killed = subprocess.run([sys.executable, "-c", DIE_WHILE_STARTING, str(data)], check=False)
    assert killed.returncode == -signal.SIGKILL
    orphans = process.parts_alive(data)
    assert len(orphans) == 2

    # The next one clears up and has the usual ports.
    stack = start(data)
    assert not set(orphans) & set(process.parts_alive(data))
    assert (stack.brokers[0].port, stack.registry.port) == usual
    create(stack, "kept")
    assert send(stack, "kept", b"a fact") is None
    # Several: the first is slow enough to reach the disk by itself.
    subjects = [f"kept-{number}-value" for number in range(5)]
    identities = [register(stack, subject) for subject in subjects]

    # Killed right after that, one part or both, it does not run.
    kill(stack, "registry")
    assert running(data) is None
    kill(stack, "broker-1")
    assert running(data) is None

    # Started again where its ports are taken, it moves, keeps everything and says where it is.
    with socket.create_server((ports.HOST, usual[0])), socket.create_server((ports.HOST, usual[1])):
        moved = start(data)
        assert moved == running(data)
        assert moved.brokers[0].port != usual[0]
        assert moved.registry.port != usual[1]
        assert first(moved, "kept") == b"a fact"
        assert [registered(moved, subject) for subject in subjects] == identities

        # Started fresh while it runs, it is a new one with nothing in it.
        moved.state.mkdir()
        (moved.state / "remembered").touch()
        fresh = start(data, fresh=True)
        assert not fresh.state.exists()
        assert not {part.pid for part in moved.parts} & {part.pid for part in fresh.parts}
        assert topics(fresh) == set()
        assert httpx.get(f"{fresh.registry_url}/subjects").json() == []

    # Stopped, it leaves what it holds, and no process, no lock and no trace of running.
    create(fresh, "left")
    assert stop(data)
    assert process.parts_alive(data) == []
    assert running(data) is None
    assert not (data / STATE).exists()
    assert (data / "broker-1" / "log" / "left-0").is_dir()
    assert list((data / "registry").iterdir())
    with locked(data, within=0):
        pass
    assert not stop(data)


@pytest.mark.kafka
def test_three_brokers_are_one_cluster_and_one_may_fail(tmp_path: Path) -> None:
    # Kafka and Java have their own ideas of blanks and umlauts in paths.
    with ephemeral(tmp_path / "dätä x", brokers=3) as stack:
        create(stack, "facts")
        [partition] = (
            admin(stack).list_topics("facts", timeout=10).topics["facts"].partitions.values()
        )
        assert sorted(partition.replicas) == [1, 2, 3]

        kill(stack, f"broker-{partition.leader}")

        assert send(stack, "facts", b"a fact") is None
        assert first(stack, "facts") == b"a fact"

    assert process.parts_alive(stack.data) == []


@pytest.mark.kafka
def test_a_part_that_does_not_start_says_why(
    data: Path, usual: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh_stream.local.broker.HEAP", "-Xmx1k")

    with pytest.raises(MeshError, match=r"(?s)broker-1 .*Too small maximum heap") as caught:
        start(data)

    assert str(data / "logs" / "broker-1.log") in str(caught.value)
    assert process.parts_alive(data) == []


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b"{",
        b'{"brokers": "none"}',
        b'{"brokers": [], "registry": {"name": "registry", "pid": -1, "port": 1}}',
        b'{"brokers": [], "registry": {"name": "registry", "pid": 1, "port": 1}}',
    ],
)
def test_a_stale_state_is_no_running_stack(state: bytes, tmp_path: Path) -> None:
    (tmp_path / STATE).write_bytes(state)

    assert running(tmp_path) is None


@pytest.mark.kafka
def test_who_took_the_number_of_a_part_is_not_the_part(stack: Stack, tmp_path: Path) -> None:
    # At the recorded port something answers as it should, but the recorded process is another.
    part = f'{{"name": "registry", "pid": {os.getpid()}, "port": {stack.registry.port}}}'
    (tmp_path / STATE).write_text(f'{{"brokers": [], "registry": {part}}}')

    assert running(tmp_path) is None
    assert not stop(tmp_path)


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "precious").touch()

    with pytest.raises(MeshError, match="holds other files and no stack"):
        start(tmp_path, fresh=True)

    assert (tmp_path / "logs" / "precious").exists()


def test_data_of_another_number_of_brokers_is_refused(tmp_path: Path) -> None:
    (tmp_path / LAYOUT).write_text('{"brokers": 3, "cluster_id": "x"}')

    with pytest.raises(MeshError, match=r"3 broker\(s\), and 1 were asked for; --fresh"):
        start(tmp_path, brokers=1)


def test_an_unreadable_layout_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / LAYOUT).write_text("{}")

    with pytest.raises(MeshError, match=r"layout\.json does not say"):
        start(tmp_path)


@pytest.mark.parametrize("brokers", [0, 10])
def test_a_number_of_brokers_out_of_range_is_refused(brokers: int, tmp_path: Path) -> None:
    with pytest.raises(MeshError, match="expected 1 to 9"):
        start(tmp_path / "new", brokers=brokers)

    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["a,b", "a;b", "a:b"])
def test_a_path_that_a_part_would_misread_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(MeshError, match="MESH_DATA"):
        start(tmp_path / name)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(MeshError, match="MESH_DATA"):
        start(tmp_path / "file" / "stack")


def test_nothing_runs_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert running(tmp_path / "none") is None
    assert not stop(tmp_path / "none")


def test_the_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MESH_DATA", str(tmp_path / "mine"))
    assert data_folder() == tmp_path / "mine"

    monkeypatch.delenv("MESH_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert data_folder() == tmp_path / "xdg" / "mesh-stream" / "stack"

    monkeypatch.setenv("XDG_DATA_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert data_folder() == tmp_path / "home" / ".local" / "share" / "mesh-stream" / "stack"
