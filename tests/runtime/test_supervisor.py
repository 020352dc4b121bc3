"""The supervisor with real processes: small ones that end as the test wants."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mesh_stream.runtime import supervisor as room
from mesh_stream.runtime.supervisor import Slot, Supervisor, free_address
from tests.deadline import eventually

SLEEPS = "import signal; NOTE; signal.pause()"
ON_SIGTERM = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit({}))"
FAILS_TO_STOP = f"{ON_SIGTERM.format(1)}; NOTE; signal.pause()"
# Ends well on SIGTERM, as a worker does that committed all.
OBEDIENT = f"{ON_SIGTERM.format(0)}; NOTE; signal.pause()"
DEAF = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); NOTE\nwhile True: signal.pause()"
)


def program(scripts: dict[str, str], log: Path) -> Callable[[Slot], list[str]]:
    """Each slot's worker: what its product's script says, noting its start at `NOTE` or first."""

    def command(slot: Slot) -> list[str]:
        note = f"open({str(log)!r}, 'a').write('{slot}\\n')"
        script = scripts[slot.product]
        whole = script.replace("NOTE", note) if "NOTE" in script else f"{note}\n{script}"
        return [sys.executable, "-c", whole]

    return command


class Run:
    """A supervisor in a thread of its own."""

    def __init__(self, scripts: dict[str, str], log: Path, *, slots: int = 1) -> None:
        self.log = log
        self.supervisor = Supervisor(
            [Slot(name, number, "127.0.0.1:0") for name in scripts for number in range(slots)],
            program(scripts, log),
            dict(os.environ),
        )
        self.code: int | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.code = self.supervisor.run()

    def starts(self, slot: str) -> int:
        return self.log.read_text().split("\n").count(slot) if self.log.exists() else 0

    def end(self) -> int:
        self.supervisor.stop()
        return self.ended()

    def ended(self) -> int:
        self._thread.join(15)
        assert not self._thread.is_alive(), "the supervisor did not end"
        assert self.code is not None
        return self.code


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "starts"


def test_a_worker_that_crashes_is_started_again_and_its_restarts_are_counted(log: Path) -> None:
    run = Run({"a": "import os; os.abort()"}, log)
    try:
        eventually(lambda: run.starts("a slot 0") >= 3, within=10, what="three starts")
        assert run.supervisor.restarts()["a"] >= 2
    finally:
        run.end()


def test_each_restart_waits_twice_as_long(log: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = Run({"a": "raise SystemExit(70)"}, log)
    try:
        eventually(lambda: run.starts("a slot 0") >= 3, within=10, what="three starts")
    finally:
        run.end()

    waits = [record.getMessage().rpartition(" in ")[2] for record in caplog.records]
    assert waits[:2] == ["0.5 s", "1.0 s"]


@pytest.mark.parametrize("code", [1, 2, 4, 5])
def test_a_worker_that_cannot_run_is_not_restarted_and_its_code_is_the_supervisors(
    code: int, log: Path
) -> None:
    run = Run({"a": f"raise SystemExit({code})"}, log)

    assert run.ended() == code
    assert run.starts("a slot 0") == 1


def test_the_products_beside_one_that_cannot_run_go_on(log: Path) -> None:
    run = Run({"bad": "raise SystemExit(2)", "good": OBEDIENT}, log)
    try:
        eventually(lambda: "good" in _products(run), within=10, what="the good one running")
        eventually(lambda: "bad" not in _products(run), within=10, what="the bad one given up")
        assert "good" in _products(run)
    finally:
        code = run.end()

    assert code == 2


def test_the_other_slots_of_a_product_that_cannot_run_are_stopped(log: Path) -> None:
    # The second to start cannot run; the first would stay for ever.
    denied = f"if open({str(log)!r}).read().count('a slot') == 2: sys.exit(4)"
    run = Run({"a": f"{ON_SIGTERM.format(0)}; NOTE\n{denied}\nsignal.pause()"}, log, slots=2)

    assert run.ended() == 4
    assert run.supervisor.pids() == {}


def test_a_stop_ends_every_worker_and_returns_zero(log: Path) -> None:
    run = Run({"a": OBEDIENT, "b": OBEDIENT}, log, slots=2)
    eventually(lambda: len(run.supervisor.pids()) == 4, within=10, what="four workers")
    eventually(lambda: run.starts("b slot 1") == 1, within=10, what="the last one started")
    pids = list(run.supervisor.pids().values())

    assert run.end() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_worker_that_ends_with_an_error_on_a_stop_shows_in_the_code(log: Path) -> None:
    run = Run({"a": FAILS_TO_STOP}, log)
    eventually(lambda: run.starts("a slot 0") == 1, within=10, what="the worker started")

    assert run.end() == 1


def test_a_worker_stopped_before_it_could_open_anything_stopped_well(log: Path) -> None:
    run = Run({"a": SLEEPS}, log)
    eventually(lambda: run.starts("a slot 0") == 1, within=10, what="the worker started")

    assert run.end() == 0


def test_a_worker_that_does_not_hear_is_killed(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_STOP_SECONDS", 0.5)
    run = Run({"a": DEAF}, log)
    eventually(lambda: run.starts("a slot 0") == 1, within=10, what="the worker started")
    (pid,) = run.supervisor.pids().values()

    assert run.end() == 1
    assert not Path(f"/proc/{pid}").exists()


def test_a_second_stop_does_not_wait(log: Path) -> None:
    run = Run({"a": DEAF}, log)
    eventually(lambda: run.starts("a slot 0") == 1, within=10, what="the worker started")

    run.supervisor.stop()

    assert run.end() == 1


def test_a_worker_notices_that_its_supervisor_was_killed(tmp_path: Path) -> None:
    log = tmp_path / "pids"
    child = textwrap.dedent(
        f"""
        import os, threading, signal
        from mesh_stream.cli.run import stop_with_parent
        stop_with_parent()
        with open({str(log)!r} + ".new", "w") as file:
            file.write(str(os.getpid()))
        os.rename({str(log)!r} + ".new", {str(log)!r})
        signal.pause()
        """
    )
    parent = textwrap.dedent(
        f"""
        import os, sys
        from mesh_stream.runtime.supervisor import Slot, Supervisor
        Supervisor(
            [Slot("a", 0, "127.0.0.1:0")],
            lambda slot: [sys.executable, "-c", {child!r}],
            dict(os.environ),
        ).run()
        """
    )
    with subprocess.Popen([sys.executable, "-c", parent]) as process:
        try:
            eventually(log.exists, within=20, what="the worker started")
            pid = int(log.read_text())
        finally:
            process.send_signal(signal.SIGKILL)

    eventually(lambda: not Path(f"/proc/{pid}").exists(), within=10, what="the worker ended")


def test_a_free_address_skips_ports_that_are_taken() -> None:
    taken: set[int] = set()
    first = free_address("127.0.0.1", 0, taken)
    port = int(first.rpartition(":")[2])

    assert free_address("127.0.0.1", port, taken) != first


def _products(run: Run) -> set[str]:
    return {slot.product for slot in run.supervisor.pids()}
