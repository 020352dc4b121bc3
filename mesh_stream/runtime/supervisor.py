"""One process for each product and slot: started, watched, restarted, stopped in time.

A worker that cannot run is not restarted: a wrong declaration, a denied access, a `fail` rule or a
second process on the same slot do not mend themselves. Its product stops and says so; the products
beside it go on, and the supervisor ends with that worker's exit code.

Workers live in sessions of their own, so that Ctrl-C reaches them once, through here, and hold the
other end of a pipe, so that they stop by themselves when this process is killed.
"""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import IO

log = logging.getLogger(__name__)

CRASHED = 70
"""Exit code of a worker that met something nobody foresaw (sysexits.h, EX_SOFTWARE)."""

# What does not mend itself: failed on purpose, wrongly declared, denied, fenced.
_FINAL = {1: "stopped on purpose", 2: "wrongly declared", 4: "denied access", 5: "fenced"}
_FIRST_BACKOFF, _LAST_BACKOFF = 0.5, 30.0
# A worker that ran this long was well; its next failure starts the back-off anew.
_WELL_SECONDS = 60.0
# Workers end within nine seconds by themselves; the whole stays below ten.
_STOP_SECONDS = 9.5
_GLANCE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Slot:
    """One worker to run.

    Attributes:
        product: The product's name.
        number: The slot's number; with the product it names the transactional id.
        metrics: `host:port` that its metrics are served on.
    """

    product: str
    number: int
    metrics: str

    def __str__(self) -> str:
        return f"{self.product} slot {self.number}"


@dataclass(slots=True, eq=False)
class _Running:
    slot: Slot
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    backoff: float = _FIRST_BACKOFF
    restart_at: float = 0.0
    restarts: int = 0


@dataclass(slots=True)
class Supervisor:
    """Runs workers until asked to stop.

    Attributes:
        slots: What to run.
        command: The command line of a slot's worker.
        environment: The environment of the workers.
        stderr: Where the workers' logs go; None: where ours go.
    """

    slots: Sequence[Slot]
    command: Callable[[Slot], list[str]]
    environment: Mapping[str, str]
    stderr: IO[bytes] | None = None
    _running: list[_Running] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _impatient: bool = False
    _exit_code: int = 0

    def run(self) -> int:
        """Run every slot.

        Returns:
            0 after a stop in which every worker committed what it had open; else the code of the
            first worker that could not run, or 1.
        """
        self._running = [_Running(slot) for slot in self.slots]
        try:
            while self._running and not self._stop.is_set():
                for running in list(self._running):
                    # One that was given up since must not be started again.
                    if running in self._running:
                        self._look_at(running)
                self._stop.wait(_GLANCE_SECONDS)
        finally:
            self._end_all()
        return self._exit_code

    def stop(self) -> None:
        """Ask every worker to stop; asked twice, kill them. Safe from a signal handler."""
        self._impatient = self._stop.is_set()
        self._stop.set()

    def stop_on_signals(self) -> None:
        """Have SIGTERM and SIGINT call `stop`."""

        def heard(_number: int, _frame: FrameType | None) -> None:
            self.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, heard)

    def restarts(self) -> dict[str, int]:
        """Product -> how often its workers were restarted."""
        total: dict[str, int] = {}
        for running in self._running:
            product = running.slot.product
            total[product] = total.get(product, 0) + running.restarts
        return total

    def pids(self) -> dict[Slot, int]:
        """The processes of the workers that are running."""
        return {r.slot: r.process.pid for r in list(self._running) if r.process is not None}

    def _look_at(self, running: _Running) -> None:
        now = time.monotonic()
        if running.process is None:
            if now >= running.restart_at:
                self._start(running)
            return
        code = running.process.poll()
        if code is None:
            if now - running.started > _WELL_SECONDS:
                running.backoff = _FIRST_BACKOFF
            return
        self._close(running)
        if code in _FINAL:
            log.error(
                "%s ended with code %d (%s) and is not restarted; its product stops here",
                running.slot, code, _FINAL[code],
            )  # fmt: skip
            self._exit_code = self._exit_code or code
            self._give_up(running.slot.product)
            return
        how = signal.Signals(-code).name if code < 0 else f"code {code}"
        log.warning("%s ended with %s; restarted in %.1f s", running.slot, how, running.backoff)
        running.restart_at = now + running.backoff
        running.backoff = min(running.backoff * 2, _LAST_BACKOFF)
        running.restarts += 1

    def _start(self, running: _Running) -> None:
        running.started = time.monotonic()
        running.process = subprocess.Popen(
            self.command(running.slot),
            stdin=subprocess.PIPE,
            stderr=self.stderr,
            env=self.environment,
            start_new_session=True,
        )

    def _close(self, running: _Running) -> None:
        assert running.process is not None
        assert running.process.stdin is not None
        running.process.stdin.close()
        running.process = None

    def _give_up(self, product: str) -> None:
        """Stop what else runs of a product that cannot run."""
        same = [running for running in self._running if running.slot.product == product]
        self._running = [running for running in self._running if running.slot.product != product]
        self._end(same)

    def _end_all(self) -> None:
        self._end(self._running)
        self._running = []

    def _end(self, ending: Sequence[_Running]) -> None:
        alive = [running for running in ending if running.process is not None]
        for running in alive:
            assert running.process is not None
            running.process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        while alive and time.monotonic() < deadline and not self._impatient:
            alive = [r for r in alive if r.process is not None and r.process.poll() is None]
            time.sleep(_GLANCE_SECONDS / 5)
        for running in ending:
            if running.process is None:
                continue
            if running.process.poll() is None:
                log.error("%s did not stop in time and is killed", running.slot)
                running.process.kill()
            code = running.process.wait()
            # Ended by the signal itself: it was still starting and had nothing open.
            if code not in (0, -signal.SIGTERM) and self._stop.is_set():
                log.warning("%s stopped with code %d: it had not committed all", running.slot, code)
                self._exit_code = self._exit_code or 1
            self._close(running)


def free_address(host: str, first: int, taken: set[int]) -> str:
    """`host:port` of the first port from `first` on that nobody listens on.

    Args:
        host: The address to bind.
        first: The port to try first; 0 for any.
        taken: Ports given out before; the new one is added.
    """
    for port in range(first, first + 1000) if first else [0]:
        if port in taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
        taken.add(found)
        return f"{host}:{found}"
    raise OSError(f"no free port from {first} to {first + 999} on {host}")
