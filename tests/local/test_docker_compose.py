from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mesh_stream.local import ports
from mesh_stream.local.broker import HEAP, Node, settings
from mesh_stream.local.pinned import read_lock

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
# What follows from where a broker runs, not from how it shall behave.
PLACE = {
    "advertised.listeners",
    "controller.listener.names",
    "controller.quorum.voters",
    "inter.broker.listener.name",
    "listener.security.protocol.map",
    "listeners",
    "log.dirs",
}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    services: dict[str, Any] = document["services"]
    return services


def test_it_is_valid_by_the_compose_specification() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]

    done = subprocess.run(
        [*check, str(COMPOSE)], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_its_broker_is_set_as_the_embedded_one(services: dict[str, Any]) -> None:
    node = Node(1, ports.BROKER, 9093)
    embedded = {
        f"KAFKA_{name.upper().replace('.', '_')}": value
        for name, value in settings(node, [node], Path("/data")).items()
        if name not in PLACE
    }
    composed = services["broker"]["environment"]

    assert {name: composed.get(name) for name in embedded} == embedded
    assert composed["KAFKA_HEAP_OPTS"] == HEAP


def test_its_images_are_of_the_embedded_versions(services: dict[str, Any]) -> None:
    lock = read_lock()
    kafka = next(jar.version for jar in lock.broker if jar.artifact == "kafka_2.13")

    assert services["broker"]["image"] == f"apache/kafka:{kafka}"
    assert services["registry"]["image"] == f"apicurio/apicurio-registry:{lock.registry.version}"


def test_its_ports_are_the_usual_ones_on_loopback_only(services: dict[str, Any]) -> None:
    published = [port.rsplit(":", 1)[0] for name in services for port in services[name]["ports"]]

    assert published == [f"127.0.0.1:{ports.BROKER}", f"127.0.0.1:{ports.REGISTRY}"]
