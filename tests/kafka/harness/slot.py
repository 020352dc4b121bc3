"""One worker slot as a process of its own, to be killed, frozen and stopped."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from mesh_stream.runtime.supervisor import free_address
from tests.deadline import POLL_SECONDS
from tests.kafka.harness.nursery import ROOT as ROOT
from tests.kafka.harness.nursery import Process


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
        self._pace = pace
        self._process: Process | None = None
        self._log_from = 0
        self._metrics = ""

    def start(self) -> None:
        """Start the process; one that still runs under this number is left to itself."""
        self._metrics = free_address("127.0.0.1", 0, set())
        self._log_from = self.log.stat().st_size if self.log.exists() else 0
        arguments = [self.product, "--slot", str(self.number), "--metrics", self._metrics]
        self.started = time.monotonic()
        self._process = Process(
            arguments, environment=self.environment, log=self.log, pace=self._pace
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
        """Send it a signal, unless it has ended."""
        if self.alive():
            os.kill(self.pid, number)

    def wait(self, within: float) -> int:
        """Its exit code, once it has ended."""
        assert self._process is not None
        deadline = time.monotonic() + within
        while (code := self._process.poll()) is None:
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{self.product} slot {self.number} did not end within {within:g} s; "
                    f"its log ends:\n{self.said()[-3000:]}"
                )
            threading.Event().wait(POLL_SECONDS)
        return code

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
                # Only what is asked for: there are hundreds, and reading them takes long.
                text = "".join(
                    line
                    for line in answer.read().decode().splitlines(keepends=True)
                    if line.startswith(name)
                )
        except (URLError, OSError):
            return 0.0
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )
