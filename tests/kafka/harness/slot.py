"""One worker slot as a process of its own, to be killed, frozen and stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from mesh_stream.runtime.supervisor import free_address

ROOT = Path(__file__).parents[3]


class SlotProcess:
    """`mesh-stream worker`, started again and again under one slot number.

    Args:
        product: The product's name.
        number: The slot.
        environment: Where broker, registry and products are.
        log: Where its log goes; appended to by each start.
        pace: Fields of `Pace` that are other than usual.
    """

    def __init__(
        self,
        product: str,
        number: int,
        *,
        environment: Mapping[str, str],
        log: Path,
        pace: Mapping[str, float] | None = None,
    ) -> None:
        self.product = product
        self.number = number
        self.log = log
        self.started = 0.0
        self.environment = {**os.environ, **environment}
        self._module = ["mesh_stream.cli", "worker"]
        if pace:
            self._module = ["tests.kafka.harness.paced_worker", json.dumps(pace)]
        self._process: subprocess.Popen[bytes] | None = None
        self._log_from = 0
        self._metrics = ""

    def start(self) -> None:
        """Start the process; one that still runs under this number is left to itself."""
        self._metrics = free_address("127.0.0.1", 0, set())
        self._log_from = self.log.stat().st_size if self.log.exists() else 0
        arguments = [self.product, "--slot", str(self.number), "--metrics", self._metrics]
        self.started = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self._module, *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.signal(signal.SIGKILL)
        self.wait(10)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, within: float) -> int:
        """Its exit code, once it has ended."""
        assert self._process is not None
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.product} slot {self.number} did not end within {within:g} s; "
                f"its log ends:\n{self.said()[-3000:]}"
            ) from None

    def end(self) -> None:
        """Make sure that it is gone, whatever state it is in."""
        if self.alive():
            self.kill()

    def said(self) -> str:
        """What this process (not an earlier one of the slot) has logged."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as content:
            content.seek(self._log_from)
            return content.read().decode("utf-8", "replace")

    def is_up(self) -> bool:
        """Whether it serves its metrics, which is the first thing it does."""
        host, _, port = self._metrics.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            return False
        return True

    def is_reading(self) -> bool:
        """Whether it was given partitions."""
        return any(
            ": assigned " in line and not line.endswith("assigned nothing")
            for line in self.said().splitlines()
        )

    def is_remembering(self) -> bool:
        """Whether the states of one of its partitions are there."""
        return ": restored, " in self.said()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with these labels; 0 if it cannot be asked."""
        try:
            with urlopen(f"http://{self._metrics}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except (URLError, OSError):
            return 0.0
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )
