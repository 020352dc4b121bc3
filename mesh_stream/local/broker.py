"""How a broker of the embedded stack is run: Apache Kafka in KRaft mode, with its controller.

Settings are Kafka's own, by Kafka's own names; each that differs from Kafka's default says why.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mesh_stream.errors import BrokerError
from mesh_stream.local.artifacts import Installation
from mesh_stream.local.java import java
from mesh_stream.local.ports import HOST
from mesh_stream.local.process import environment

HEAP = "-Xmx512m"
LOGGING = (f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties')}",)
FORMAT_SECONDS = 60.0
PROBE_SECONDS = 2.0
# ApiVersions, version 0: the one request every broker answers to everyone.
API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 7, -1)


@dataclass(frozen=True, slots=True)
class Node:
    """One broker's place: its number (from 1), and the ports of its clients and its quorum."""

    number: int
    port: int
    controller_port: int

    @property
    def name(self) -> str:
        """What it is called in the data folder and in messages."""
        return f"broker-{self.number}"


def settings(node: Node, nodes: Sequence[Node], data: Path) -> Mapping[str, str]:
    """The broker's configuration, as `server.properties` has it."""
    replicas = str(min(3, len(nodes)))
    in_sync = "2" if len(nodes) >= 3 else "1"
    voters = ",".join(f"{each.number}@{HOST}:{each.controller_port}" for each in nodes)
    return {
        "process.roles": "broker,controller",
        "node.id": str(node.number),
        # Voters by configuration, not by a record in the log: ports may differ in every run.
        "controller.quorum.voters": voters,
        "controller.listener.names": "CONTROLLER",
        "listeners": f"CLIENT://{HOST}:{node.port},CONTROLLER://{HOST}:{node.controller_port}",
        "advertised.listeners": f"CLIENT://{HOST}:{node.port}",
        "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "CLIENT",
        "log.dirs": str(data / node.name / "log"),
        # A topic exists because `apply` made it, never because somebody misspelt its name.
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        # Fewer than the 50 of a production cluster: opening them is most of a small broker's start.
        "offsets.topic.num.partitions": "8",
        "transaction.state.log.num.partitions": "8",
        "share.coordinator.state.topic.num.partitions": "8",
        # Nothing to wait for: one machine's workers all come at once.
        "group.initial.rebalance.delay.ms": "0",
        # Records of a replay are as old as what they tell of; by default Kafka deletes those older
        # than a week. Topics that are to forget say so themselves.
        "log.retention.ms": "-1",
        # Segments roll by record time too: a replay of years would end in hundreds of them.
        "log.roll.ms": str(10 * 365 * 24 * 3600 * 1000),
        # A stack may rest for weeks; groups that lost their offsets would begin again.
        "offsets.retention.minutes": str(10 * 365 * 24 * 60),
        "message.max.bytes": str(16 * 1024 * 1024),
        "replica.fetch.max.bytes": str(16 * 1024 * 1024),
        # A broker that was killed is let in again, and missed by others, only after this; Kafka's
        # 9 s would be most of what a restart here takes.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # A dead worker may be missed as soon as its own session says; Kafka's least is 6 s.
        "group.min.session.timeout.ms": "500",
        # How often timed-out transactions are looked for; 10 s would hold up readers needlessly.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    }


def prepare(node: Node, nodes: Sequence[Node], data: Path) -> Path:
    """Write the broker's configuration for this run; returns its path."""
    folder = data / node.name
    folder.mkdir(exist_ok=True)
    file = folder / "server.properties"
    lines = (f"{name}={_escaped(value)}" for name, value in settings(node, nodes, data).items())
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def _escaped(value: str) -> str:
    """A value as Java's properties format has it: its escapes are those of JSON."""
    return json.dumps(value)[1:-1]


def format_storage(node: Node, data: Path, cluster_id: str, installed: Installation) -> None:
    """Format the broker's storage, unless it is: Kafka starts on nothing else.

    Raises:
        BrokerError: Kafka's own tool failed.
    """
    log = data / node.name / "log"
    # Kafka writes this file last. A folder without it was being formatted when the power went.
    if (log / "meta.properties").is_file():
        return
    shutil.rmtree(log, ignore_errors=True)
    config = str(data / node.name / "server.properties")
    # In one word: an id may begin with a dash, which would be taken for an option.
    tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "-c", config]
    done = subprocess.run(
        [*java(data, node.name, "-XX:TieredStopAtLevel=1", *_classes(installed)), *tool],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=FORMAT_SECONDS,
        check=False,
    )
    if done.returncode:
        raise BrokerError(
            f"{node.name}: its storage {log} could not be formatted: {done.stderr or done.stdout}"
        )


def command(name: str, data: Path, installed: Installation) -> list[str]:
    """The command that runs the prepared and formatted broker of this name."""
    log = data / "logs" / f"{name}.log"
    return [
        *java(data, name, HEAP, *LOGGING, f"-Dmesh.log={log}", *_classes(installed)),
        "kafka.Kafka",
        str(data / name / "server.properties"),
    ]


def answers(port: int) -> bool:
    """Whether a Kafka broker answers there; it opens the port when it is fit to serve."""
    try:
        with socket.create_connection((HOST, port), timeout=PROBE_SECONDS) as connection:
            connection.sendall(API_VERSIONS)
            header = connection.recv(10, socket.MSG_WAITALL)
    except OSError:
        return False
    if len(header) < 10:
        return False
    _size, correlation, error = struct.unpack(">iih", header)
    return bool(correlation == 7 and error == 0)


def _classes(installed: Installation) -> list[str]:
    jars = os.pathsep.join(str(jar) for jar in installed.broker_classpath)
    return ["-cp", jars]
