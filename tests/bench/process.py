"""What a process has cost so far, as Linux tells it; NaN where there is no `/proc`."""

from __future__ import annotations

import math
import os
import re
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


def _proc(pid: int, name: str) -> str | None:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return None
