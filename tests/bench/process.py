"""What processes have cost so far, as Linux tells it; NaN where there is no `/proc`."""

from __future__ import annotations

import math
import os
import re
import resource
import time
from collections.abc import Iterable
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """Processor time of a process, all its threads together."""
    text = _proc(pid, "stat")
    if text is None:
        return math.nan
    # The second field is the program's name, in parentheses and possibly with spaces.
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_bytes(pid: int) -> float:
    """The largest resident memory of a process."""
    text = _proc(pid, "status")
    found = re.search(r"^VmHWM:\s+(\d+) kB", text or "", re.MULTILINE)
    return int(found[1]) * 1024 if found else math.nan


class Company:
    """Who else keeps the processors busy from now on: what is measured beside others is not quoted.

    Args:
        ours: Processes that belong to the measurement, besides this one and its children.
    """

    def __init__(self, ours: Iterable[int]) -> None:
        self._ours = tuple(ours)
        self._began, self._before = time.monotonic(), self._others_seconds()

    def processors(self) -> float:
        """How many processors others took, on average; children that still run count as others."""
        return (self._others_seconds() - self._before) / (time.monotonic() - self._began)

    def _others_seconds(self) -> float:
        text = _read("/proc/stat")
        if text is None:
            return math.nan
        user, nice, system, _idle, _wait, *interrupts = map(
            int, text.split("\n", 1)[0].split()[1:8]
        )
        busy = (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")
        own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        ours = sum(used.ru_utime + used.ru_stime for used in own)
        return busy - ours - sum(map(cpu_seconds, self._ours))


def _proc(pid: int, name: str) -> str | None:
    return _read(f"/proc/{pid}/{name}")


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text()
    except OSError:
        return None
