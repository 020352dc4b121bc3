"""Calls the command line: in this process where that is enough, as a user does where it is not."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import pytest

from mesh_stream.cli import outcome_of
from mesh_stream.local.stack import Stack

MOST_SECONDS = 40


class Result(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


Call = Callable[..., Result]


@contextmanager
def calling(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, env: Mapping[str, str]
) -> Iterator[Call]:
    """Yields what calls a command in this process and leaves logging as it was."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def call(*arguments: str | Path) -> Result:
        capsys.readouterr()
        signal.alarm(MOST_SECONDS)
        try:
            code = outcome_of([str(argument) for argument in arguments])
        finally:
            signal.alarm(0)
        out, err = capsys.readouterr()
        return Result(code, out, err)

    def too_long(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"not over after {MOST_SECONDS} s; printed: {capsys.readouterr()}")

    before = signal.signal(signal.SIGALRM, too_long)
    yield call
    signal.signal(signal.SIGALRM, before)
    root.handlers[:], root.level = handlers, level


def environment(stack: Stack, products: Path) -> dict[str, str]:
    """Where commands find the shared stack, and the test's own products."""
    return {
        "MESH_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "MESH_REGISTRY_URL": stack.registry_url,
        "MESH_PRODUCTS": str(products),
    }


@contextmanager
def started(*arguments: str | Path, env: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The command as a process of its own; killed if it lives at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mesh_stream.cli", *map(str, arguments)],
        env=os.environ | env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()
