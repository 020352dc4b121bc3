"""Debian's Prometheus, as a process of the tests' own: started, asked and stopped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from mesh_stream.local import ports
from tests.deadline import eventually

# Where `make test` unpacks the package; else whatever is installed.
UNPACKED = Path(sys.prefix) / "prometheus" / "usr" / "bin"
# Either lives for seconds: collecting garbage as often as a server does would be half its work.
ENVIRONMENT = {**os.environ, "GOGC": "400"}
READY_SECONDS = 20.0
STOP_SECONDS = 10.0


def program(name: str) -> Path:
    """Returns where `prometheus` or `promtool` is; skips the test where there is none."""
    found = shutil.which(name, path=str(UNPACKED)) or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on this machine: `make prometheus` gets it where apt-get can")
    return Path(found)


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs promtool to its end."""
    return subprocess.run(
        [program("promtool"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=ENVIRONMENT,
    )


class Prometheus:
    """A running Prometheus, asked by its API."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._client = httpx.Client(base_url=self.url, timeout=10)

    def close(self) -> None:
        self._client.close()

    def is_ready(self) -> bool:
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str, **parameters: str) -> Any:
        """What the API answers; an error of the query fails the test."""
        answer = self._client.get(f"/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[tuple[Mapping[str, str], float]]:
        """The samples that an expression comes to now; its labels, its value."""
        data = self.get("query", query=expression)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(sample["metric"], float(sample["value"][1])) for sample in data["result"]]

    def firing(self) -> set[tuple[str, ...]]:
        """(alert, severity, product) of what fires now."""
        return {
            (labels["alertname"], labels["severity"], labels.get("product", ""))
            for alert in self.get("alerts")["alerts"]
            if alert["state"] == "firing" and (labels := alert["labels"])
        }

    def rules(self) -> list[Mapping[str, Any]]:
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    def targets(self) -> dict[str, list[Mapping[str, Any]]]:
        """Job -> its targets that are scraped."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for target in self.get("targets", state="active")["activeTargets"]:
            found.setdefault(target["scrapePool"], []).append(target)
        return found


@contextmanager
def running(folder: Path, data: Path) -> Iterator[Prometheus]:
    """Prometheus with a folder that `mesh-stream slo` wrote, on loopback, until the block ends."""
    (port,) = ports.choose([None])
    command = [
        str(program("prometheus")),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=35d",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log = data.with_suffix(".log")
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=ENVIRONMENT)
    prometheus = Prometheus(port)
    try:

        def is_ready() -> bool:
            assert process.poll() is None, log.read_text()
            return prometheus.is_ready()

        eventually(is_ready, within=READY_SECONDS, what="Prometheus is ready")
        yield prometheus
    finally:
        prometheus.close()
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def load(path: Path) -> Any:
    """What a YAML file says."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
