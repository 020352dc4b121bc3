"""How the registry of the embedded stack is run: Apicurio Registry, speaking the Confluent API.

Settings are its own, by their own names, given as system properties, which win over every other
source. Schemas live in a file database in the data folder, so they are kept as the topics are.
"""

from __future__ import annotations

import http.client
from pathlib import Path

from mesh_stream.local.artifacts import Installation
from mesh_stream.local.java import java
from mesh_stream.local.ports import HOST

NAME = "registry"
API = "/apis/ccompat/v7"
# Open until the process ends, not until the last connection does; and a schema that was registered
# is on disk when the answer is given, not half a second later.
DATABASE = ";DB_CLOSE_DELAY=-1;WRITE_DELAY=0"
HEAP = "-Xmx256m"
PROBE_SECONDS = 2.0


def command(port: int, data: Path, installed: Installation) -> list[str]:
    """The command that runs the registry on this port."""
    settings = {
        "quarkus.http.host": HOST,
        "quarkus.http.port": str(port),
        # Health and metrics on a port of their own, by default on all interfaces at 9000, and not
        # to be turned off when it runs: any free port will do.
        "quarkus.management.host": HOST,
        "quarkus.management.port": "0",
        "apicurio.storage.kind": "sql",
        "apicurio.storage.sql.kind": "h2",
        "apicurio.datasource.url": f"jdbc:h2:file:{data / NAME / 'schemas'}{DATABASE}",
        "apicurio.datasource.jdbc.initial-size": "2",
        "apicurio.datasource.jdbc.min-size": "2",
        "quarkus.http.access-log.enabled": "false",
        'quarkus.log.category."io.apicurio".level': "WARN",
        "quarkus.log.console.enabled": "false",
        "quarkus.log.file.enabled": "true",
        "quarkus.log.file.rotation.rotate-on-boot": "false",
        "quarkus.log.file.path": str(data / "logs" / f"{NAME}.log"),
    }
    options = (f"-D{name}={value}" for name, value in settings.items())
    # C1 alone starts it in two thirds of the time; a registry is asked a few times a minute.
    flags = (HEAP, "-XX:TieredStopAtLevel=1", *options)
    return [*java(data, NAME, *flags), "-jar", str(installed.registry_jar)]


def answers(port: int) -> bool:
    """Whether a registry answers there."""
    connection = http.client.HTTPConnection(HOST, port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", f"{API}/subjects")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
