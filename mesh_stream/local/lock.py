"""Writes `artifacts.lock.json`: which Java artifacts the embedded stack runs, to the byte.

A maintainer runs `python -m mesh_stream.local.lock` after changing a version below, and reviews the
difference. Everyone else only ever downloads what the lock names: no dependency is resolved, no
version is chosen, on a user's machine.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from mesh_stream.local.pinned import LOCK_FILE

KAFKA = "org.apache.kafka:kafka_2.13:4.2.1"
# Kafka speaks slf4j 1.7 and ships no binding; its own distribution pairs it with log4j 2.
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"
# The distribution of the registry as it runs: one tarball with its own libraries.
REGISTRY = ("io.apicurio", "apicurio-registry-app", "3.3.3", "all", "tar.gz")


def resolve() -> dict[str, Any]:
    """Resolve the roots and their dependencies, download all of it, and measure every file."""
    from jgo.maven import MavenContext, PythonResolver

    with tempfile.TemporaryDirectory(prefix="mesh-stream-lock-") as folder:
        resolver = PythonResolver()
        maven = MavenContext(resolver=resolver, repo_cache=Path(folder))
        # One root at a time: resolved together, what the logging library's parent says about other
        # libraries' versions would replace what Kafka was built with.
        jars: dict[str, dict[str, Any]] = {}
        for root in (KAFKA, LOGGING):
            inputs, transitive = resolver.resolve([maven.create_dependency(root)])
            for dependency in [*inputs, *transitive]:
                entry = _entry(dependency.artifact)
                kept = jars.setdefault(f"{entry['group']}:{entry['artifact']}", entry)
                if kept != entry:
                    sys.exit(f"{root} wants {entry}, and {kept} is on the class path already")
        group, name, version, classifier, packaging = REGISTRY
        component = maven.project(group, name).at_version(version)
        registry = component.artifact(classifier, packaging)
        return {"broker": [jars[name] for name in sorted(jars)], "registry": _entry(registry)}


def _entry(artifact: Any) -> dict[str, Any]:
    path: Path = artifact.resolve()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "group": artifact.groupId,
        "artifact": artifact.artifactId,
        "version": artifact.version,
        "classifier": artifact.classifier,
        "packaging": artifact.packaging,
        "bytes": path.stat().st_size,
        "sha256": digest,
    }


if __name__ == "__main__":
    LOCK_FILE.write_text(json.dumps(resolve(), indent=1) + "\n", encoding="utf-8")
    sys.stderr.write(f"wrote {LOCK_FILE}\n")
