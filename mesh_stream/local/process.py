"""Processes that outlive the command that started them.

A part of the stack is known by its command line, which carries the stack's data folder and the
part's name: a process id alone may meanwhile be somebody else's, and a start time moves with the
clock. So a part is found even when whoever started it was killed before writing anything down.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from mesh_stream.local.extra import require

# What would change the parts behind our back: options for any JVM, and settings of the registry.
FOREIGN = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "QUARKUS_", "APICURIO_")
# A parent that ignores or blocks these would pass that on, and the part could not be stopped.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE)
NAMED_SECONDS = 1.0
TERM_SECONDS = 6.0
KILL_SECONDS = 3.0


def mark(data: Path, name: str) -> list[str]:
    """JVM options that make the process recognisable as this part of this stack."""
    return [f"-Dmesh.stack={data}", f"-Dmesh.part={name}"]


def environment() -> Mapping[str, str]:
    """The caller's environment without what would change the parts, and with UTF-8."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    # Java reads file names by the locale; in the C locale, a folder with an umlaut is not found.
    return mine | {"LC_ALL": "C.UTF-8"}


def spawn(command: list[str], output: Path) -> int:
    """Start a command in a session of its own, with its output in a file.

    Not `subprocess`: nobody here waits for the process, and nobody's end is its end.

    Returns:
        The process id; `parts_alive` finds it from now on.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    pid = os.posix_spawn(
        command[0],
        command,
        environment(),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(output), write, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=SIGNALS,
    )
    deadline = time.monotonic() + NAMED_SECONDS
    # It is there before its command line is, and nobody could find it.
    while not _is_named(pid) and time.monotonic() < deadline:
        os.sched_yield()
    return pid


def _is_named(pid: int) -> bool:
    psutil = require("psutil")
    try:
        return bool(psutil.Process(pid).cmdline())
    except psutil.Error:
        return True


def ended(pid: int) -> bool:
    """Whether a process that was spawned by this one is no more."""
    psutil = require("psutil")
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def is_part(pid: int, data: Path, name: str) -> bool:
    """Whether the process lives and is this part of the stack in this folder."""
    psutil = require("psutil")
    try:
        return set(mark(data, name)) <= set(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def listens(pid: int, port: int) -> bool:
    """Whether this very process accepts connections on a port; False where it is no more."""
    psutil = require("psutil")
    try:
        connections = psutil.Process(pid).net_connections("inet")
    except psutil.AccessDenied:
        # Nobody may look: then whoever answers there has to be believed.
        return True
    except psutil.Error:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in connections)


def parts_alive(data: Path) -> list[int]:
    """Every living process of the stack in this folder, whoever started it."""
    psutil = require("psutil")
    stack = mark(data, "")[0]
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if stack in (process.info["cmdline"] or ())
    ]


def end(pids: Iterable[int], *, gently: bool = True) -> None:
    """End the processes: SIGTERM, and SIGKILL for whichever has not gone in time.

    Returns after at most `TERM_SECONDS + KILL_SECONDS`.
    """
    psutil = require("psutil")
    processes = []
    for pid in pids:
        try:
            process = psutil.Process(pid)
            process.send_signal(signal.SIGTERM if gently else signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
        processes.append(process)
    _gone, alive = psutil.wait_procs(processes, timeout=TERM_SECONDS if gently else KILL_SECONDS)
    if alive and gently:
        end((process.pid for process in alive), gently=False)


def tail(file: Path, lines: int = 15) -> str:
    """The last lines of a log; empty where there is none."""
    try:
        with file.open("rb") as content:
            content.seek(max(0, file.stat().st_size - 16_384))
            return "\n".join(content.read().decode("utf-8", "replace").splitlines()[-lines:])
    except OSError:
        return ""
