from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh_stream.local import process
from tests.deadline import eventually

# Says that it is there and waits; its arguments are seen on its command line, as a part's are.
WAIT = "import threading; print('there', flush=True); threading.Event().wait(60)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAIT}"
START = """
import os, sys
from pathlib import Path
from mesh_stream.local import process
code, folder = sys.argv[1], Path(sys.argv[2])
command = [sys.executable, "-c", code, *process.mark(folder, "part")]
print(process.spawn(command, folder / "out"), flush=True)
os.kill(os.getpid(), 9)
"""


def spawn(folder: Path, code: str = WAIT) -> int:
    command = [sys.executable, "-c", code, *process.mark(folder, "part")]
    pid = process.spawn(command, folder / "out")
    eventually(
        lambda: (folder / "out").read_text() == "there\n", within=10, what="the process is up"
    )
    return pid


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    process.end(process.parts_alive(tmp_path), gently=False)


def test_a_part_outlives_a_killed_starter_and_is_found(folder: Path) -> None:
    starter = subprocess.run(
        [sys.executable, "-c", START, WAIT, str(folder)], capture_output=True, check=False
    )
    pid = int(starter.stdout)

    assert starter.returncode == -signal.SIGKILL
    assert process.parts_alive(folder) == [pid]
    assert os.getsid(pid) == pid


def test_a_part_is_found_as_soon_as_it_was_spawned(folder: Path) -> None:
    os.mkfifo(folder / "never")
    wait = f"exec 3<>'{folder}/never'; read line <&3"
    for number in range(100):
        command = ["/bin/sh", "-c", wait, *process.mark(folder, str(number))]
        pid = process.spawn(command, folder / "out")
        assert process.is_part(pid, folder, str(number))


def test_a_part_is_known_by_folder_and_name(folder: Path) -> None:
    pid = spawn(folder)

    assert process.is_part(pid, folder, "part")
    assert not process.is_part(pid, folder, "other")
    assert not process.is_part(pid, folder.parent, "part")
    assert not process.is_part(os.getpid(), folder, "part")


def test_an_ended_part_is_gone_to_everyone(folder: Path) -> None:
    pid = spawn(folder)
    assert not process.ended(pid)

    process.end([pid])

    assert process.ended(pid)
    assert not process.is_part(pid, folder, "part")
    assert process.parts_alive(folder) == []


def test_a_part_that_died_unseen_has_ended(folder: Path) -> None:
    pid = spawn(folder)
    os.kill(pid, signal.SIGKILL)

    eventually(lambda: process.ended(pid), within=10, what="its end is seen")
    assert not process.is_part(pid, folder, "part")


def test_a_port_is_a_process_s_own_or_somebody_else_s(folder: Path) -> None:
    pid = spawn(folder)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert process.listens(os.getpid(), port)
        assert not process.listens(pid, port)
    assert not process.listens(os.getpid(), port)
    process.end([pid], gently=False)
    assert not process.listens(pid, port)


def test_a_part_deaf_to_sigterm_is_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "TERM_SECONDS", 0.2)
    pid = spawn(folder, DEAF)

    process.end([pid])

    assert process.ended(pid)


def test_ending_takes_less_than_ten_seconds() -> None:
    assert process.TERM_SECONDS + process.KILL_SECONDS < 10


def test_a_signal_that_the_starter_ignores_still_ends_a_part(folder: Path) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        pid = spawn(folder)
    finally:
        signal.signal(signal.SIGTERM, before)

    os.kill(pid, signal.SIGTERM)

    eventually(lambda: process.ended(pid), within=3, what="SIGTERM ended it")


def test_what_would_change_a_part_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JAVA_TOOL_OPTIONS", "QUARKUS_HTTP_PORT", "APICURIO_STORAGE_KIND"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("MESH_TEST", "kept")
    monkeypatch.setenv("LC_ALL", "C")

    environment = process.environment()

    assert not [name for name in environment if name.startswith(process.FOREIGN)]
    assert environment["MESH_TEST"] == "kept"
    assert environment["LC_ALL"] == "C.UTF-8"


def test_the_end_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(10_000)))

    assert process.tail(log, 2) == "line 9998\nline 9999"
    assert process.tail(tmp_path / "none") == ""
