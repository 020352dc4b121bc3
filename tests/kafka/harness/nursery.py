"""Processes of workers, forked from one that has imported all they need.

A worker's imports cost a second of processor time, and the tests start hundreds of them. Each is a
process of its own all the same, with an interpreter that ends as any other does; it is only not
told apart from its siblings by its command line.

Run as a program, this is the process that is forked. It is given one JSON document a line and
answers each by one: asked to start a worker, the process's id; asked for a process by its id, its
exit code, or null while it lives. It ends with its standard input, and whoever it started then
still lives is killed: the tests that ended so were killed themselves.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
PRELOADED = (
    "encodings.idna",
    "httpcore",
    "mesh_stream.cli.chosen",
    "mesh_stream.cli.run",
    "mesh_stream.freshness.metrics",
    "mesh_stream.pipeline.pydantic_input",
    "mesh_stream.product.loader",
    "mesh_stream.runtime.rocksdb",
    "mesh_stream.runtime.slot",
)
NURSERIES = 2
"""Not one: all that is forked from it hashes strings alike, which no two machines' workers do."""

_turns = count()


class Process:
    """A worker's process. Its streams go to a file's end; it reads nothing."""

    def __init__(
        self,
        arguments: list[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        pace: Mapping[str, float] | None = None,
    ) -> None:
        """Start it.

        Args:
            arguments: What follows `mesh-stream worker`.
            environment: All of its environment.
            log: Where its output goes; appended to.
            pace: Fields of `Pace` that are other than usual.
        """
        self._nursery = _nursery(next(_turns) % NURSERIES)
        asked = {
            "arguments": ["worker", *arguments],
            "environment": dict(environment),
            "log": str(log),
            "pace": dict(pace or {}),
        }
        self.pid: int = self._nursery.ask(asked)
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, the negative of a signal's number where that ended it; None: it lives."""
        if self._code is None:
            self._code = self._nursery.ask(self.pid)
        return self._code


class _Nursery:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kafka.harness.nursery"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        atexit.register(self._end)

    def ask(self, question: Any) -> Any:
        asking, answering = self._process.stdin, self._process.stdout
        assert asking is not None
        assert answering is not None
        with self._lock:
            asking.write(json.dumps(question) + "\n")
            asking.flush()
            return json.loads(answering.readline())

    def _end(self) -> None:
        self._process.communicate()


@cache
def _nursery(_number: int) -> _Nursery:
    return _Nursery()


def _serve() -> dict[str, Any]:
    """Answer until the questions end; returns in each child, with what it is to do."""
    alive: set[int] = set()
    for line in sys.stdin:
        asked = json.loads(line)
        if isinstance(asked, dict):
            if (pid := os.fork()) == 0:
                return asked
            alive.add(pid)
            answer: int | None = pid
        else:
            done, status = os.waitpid(asked, os.WNOHANG)
            alive.discard(done)
            answer = os.waitstatus_to_exitcode(status) if done else None
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
    sys.exit()


def _become(asked: Mapping[str, Any]) -> None:
    """Be a process of its own, as if it had just been started."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.clear()
    os.environ.update(asked["environment"])


if __name__ == "__main__":
    from importlib import import_module

    from mesh_stream.cli import outcome_of
    from mesh_stream.runtime import pace

    for name in PRELOADED:
        import_module(name)
    assert threading.active_count() == 1, "a thread would be missing from what is forked"
    asked = _serve()
    _become(asked)
    if asked["pace"]:
        pace.Pace = partial(pace.Pace, **asked["pace"])  # type: ignore[misc, assignment]  # a process of its own
    sys.exit(outcome_of(asked["arguments"]))
