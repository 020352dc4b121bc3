from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mesh_stream.freshness.slo.windows import PERIOD_DAYS
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
    published = [
        port.rsplit(":", 1)[0] for service in services.values() for port in service.get("ports", ())
    ]

    assert published == [f"127.0.0.1:{ports.BROKER}", f"127.0.0.1:{ports.REGISTRY}"]


def test_what_has_the_hosts_network_listens_on_loopback_only(services: dict[str, Any]) -> None:
    on_host = {name for name, service in services.items() if "network_mode" in service}

    assert on_host == {"prometheus", "grafana"}
    assert "--web.listen-address=127.0.0.1:9090" in services["prometheus"]["command"]
    assert services["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    for name in on_host:
        assert services[name]["profiles"] == ["watch"]
        assert "127.0.0.1" in services[name]["healthcheck"]["test"]


def test_whoever_sees_grafana_may_look_and_change_nothing(services: dict[str, Any]) -> None:
    environment = services["grafana"]["environment"]

    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert environment["GF_AUTH_BASIC_ENABLED"] == "false"


def test_what_is_mounted_is_there_and_cannot_be_written_to(services: dict[str, Any]) -> None:
    mounts = [
        mount.split(":")
        for service in services.values()
        for mount in service.get("volumes", ())
        if mount.startswith(".")
    ]

    assert mounts
    for place, _, mode in mounts:
        assert (COMPOSE.parent / place).is_dir(), "`make slo` writes it"
        assert mode == "ro"


def test_prometheus_and_grafana_find_what_was_generated(services: dict[str, Any]) -> None:
    generated = COMPOSE.parent / "deploy" / "slo"
    provider = yaml.safe_load((generated / "grafana/dashboards/mesh.yaml").read_text())
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    mounted = {
        inside: COMPOSE.parent / place
        for place, inside, _ in (
            mount.split(":")
            for name in ("prometheus", "grafana")
            for mount in services[name]["volumes"]
            if mount.startswith(".")
        )
    }

    (dashboards,) = [part["options"]["path"] for part in provider["providers"]]
    assert mounted[dashboards] == generated / "dashboards"
    assert (mounted[dashboards] / Path(home).name).is_file()
    assert Path(home).parent == Path(dashboards)
    (configuration,) = [
        part.removeprefix("--config.file=")
        for part in services["prometheus"]["command"]
        if part.startswith("--config.file=")
    ]
    assert (mounted[str(Path(configuration).parent)] / "prometheus.yml").is_file()


def test_prometheus_keeps_more_than_an_error_budget_is_for(services: dict[str, Any]) -> None:
    (kept,) = [
        int(part.removeprefix("--storage.tsdb.retention.time=").removesuffix("d"))
        for part in services["prometheus"]["command"]
        if "retention.time" in part
    ]

    assert kept > PERIOD_DAYS
