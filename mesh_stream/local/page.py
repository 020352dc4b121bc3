"""The demo's web page: a process of its own, so that no fault of it is the demo's."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import IO

from mesh_stream.local import ports

PORT = 9380


class Page:
    """The page's process; `start` and `end` it.

    Args:
        command: Runs it; its port comes last.
        environment: Where it looks.
        log: Where its log lines go.

    Attributes:
        url: Where it will be.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: IO[bytes]
    ) -> None:
        (port,) = ports.choose([PORT])
        self.url = f"http://{ports.HOST}:{port}/"
        self._command = [*command, str(port)]
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; nobody waits for it."""
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            # Open until `end`: it ends with us, however we do.
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            # A Ctrl-C is ours to hear.
            start_new_session=True,
        )

    def end(self) -> None:
        """End it at once: it only looks on, and has nothing to put away."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
