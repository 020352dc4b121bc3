from __future__ import annotations

import contextlib
import gc
import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mesh_stream.errors import MeshError, PlatformError
from mesh_stream.local import download
from mesh_stream.local.artifacts import cache_folder, fetch
from mesh_stream.local.lock import KAFKA, REGISTRY
from mesh_stream.local.pinned import Artifact, Lock, read_lock
from tests.deadline import eventually

# jgo does not close the answer of a download that failed.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def tarball(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


JAR = b"a jar" * 1000
OTHER = b"another jar" * 1000
TARBALL = tarball(
    (tarfile.TarInfo("quarkus-run.jar"), b"run"), (tarfile.TarInfo("lib/main/a.jar"), b"library")
)


def artifact(name: str, content: bytes, packaging: str = "jar") -> Artifact:
    sha256 = hashlib.sha256(content).hexdigest()
    return Artifact("org.example", name, "1.0", "", packaging, len(content), sha256)


LOCK = Lock(
    broker=(artifact("jar", JAR), artifact("other", OTHER)),
    registry=artifact("registry", TARBALL, "tar.gz"),
)


class Mirror:
    """A Maven repository on loopback. `files` is what it serves; `faults` how it first fails."""

    def __init__(self) -> None:
        self.files = {
            "jar-1.0.jar": JAR,
            "other-1.0.jar": OTHER,
            "registry-1.0.tar.gz": TARBALL,
        }
        self.faults: dict[str, list[str]] = {}
        self.served: list[str] = []
        self.stalled = threading.Event()
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[1]
                content = mirror.files.get(name)
                fault = mirror.faults.get(name, [])
                what = fault.pop(0) if fault else ""
                if content is None or what == "error":
                    self.send_error(404 if content is None else 503)
                    return
                mirror.served.append(name)
                self.send_response(200)
                length = 10_000 * 8192 if what == "drip" else len(content)
                self.send_header("content-length", str(length))
                self.end_headers()
                if what == "drip":
                    self.drip()
                    return
                if what == "half":
                    self.wfile.write(content[: len(content) // 2])
                    return
                if what == "stall":
                    self.wfile.write(content[: len(content) // 2])
                    self.wfile.flush()
                    mirror.stalled.wait(30)
                    return
                self.wfile.write(content)

            def drip(self) -> None:
                """Go on for 100 s, or until the client hangs up."""
                with contextlib.suppress(OSError):
                    for _ in range(10_000):
                        self.wfile.write(bytes(8192))
                        if mirror.stalled.wait(0.01):
                            return

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/maven"


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    mirror = Mirror()
    monkeypatch.setenv(download.MIRROR, mirror.url)
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.01)
    thread = threading.Thread(target=mirror.server.serve_forever, args=(0.01,))
    thread.start()
    yield mirror
    mirror.stalled.set()
    mirror.server.shutdown()
    mirror.server.server_close()
    thread.join()
    # Whatever jgo left open is found now, not in a later test.
    gc.collect()


def names(folder: Path) -> set[str]:
    return {path.name.split("-")[0] for path in folder.iterdir()}


def test_what_is_missing_is_downloaded_and_unpacked(mirror: Mirror, tmp_path: Path) -> None:
    jars, home = fetch(LOCK, tmp_path)

    assert [jar.read_bytes() for jar in jars] == [JAR, OTHER]
    assert (home / "quarkus-run.jar").read_bytes() == b"run"
    assert (home / "lib" / "main" / "a.jar").read_bytes() == b"library"
    assert names(tmp_path) == {"jar", "other", "registry"}


def test_what_is_there_is_not_downloaded_again(mirror: Mirror, tmp_path: Path) -> None:
    fetch(LOCK, tmp_path)
    mirror.served.clear()

    fetch(LOCK, tmp_path)

    assert mirror.served == []


def test_a_damaged_jar_is_fetched_anew_and_alone(mirror: Mirror, tmp_path: Path) -> None:
    damaged = fetch(LOCK, tmp_path)[0][1]
    damaged.write_bytes(OTHER[:-1] + b"!")
    mirror.served.clear()

    fetch(LOCK, tmp_path)

    assert damaged.read_bytes() == OTHER
    assert mirror.served == ["other-1.0.jar"]


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"libr")])
def test_a_damaged_registry_is_unpacked_anew(
    damage: object, mirror: Mirror, tmp_path: Path
) -> None:
    library = fetch(LOCK, tmp_path)[1] / "lib" / "main" / "a.jar"
    assert callable(damage)
    damage(library)

    fetch(LOCK, tmp_path)

    assert library.read_bytes() == b"library"


def test_a_wrong_download_is_refused_and_not_kept(mirror: Mirror, tmp_path: Path) -> None:
    wrong = mirror.files["jar-1.0.jar"] = b"not what was pinned"

    with pytest.raises(PlatformError) as caught:
        fetch(LOCK, tmp_path)

    text = str(caught.value)
    assert "org.example:jar:1.0" in text
    assert f"expected SHA-256 {LOCK.broker[0].sha256} ({len(JAR)} bytes)" in text
    assert f"got {hashlib.sha256(wrong).hexdigest()} ({len(wrong)} bytes)" in text
    assert "jar" not in names(tmp_path)


@pytest.mark.parametrize("fault", ["error", "half"])
def test_a_passing_failure_is_retried(fault: str, mirror: Mirror, tmp_path: Path) -> None:
    mirror.faults["jar-1.0.jar"] = [fault] * (download.ATTEMPTS - 1)

    assert fetch(LOCK, tmp_path)[0][0].read_bytes() == JAR


def test_a_lasting_failure_says_what_and_what_to_do(mirror: Mirror, tmp_path: Path) -> None:
    del mirror.files["other-1.0.jar"]

    with pytest.raises(
        PlatformError, match=r"org\.example:other:1\.0: download failed 4 times"
    ) as e:
        fetch(LOCK, tmp_path)

    assert download.MIRROR in str(e.value)


def test_a_failure_ends_the_downloads_beside_it(mirror: Mirror, tmp_path: Path) -> None:
    del mirror.files["jar-1.0.jar"]
    mirror.faults["other-1.0.jar"] = ["drip"] * download.ATTEMPTS
    began = time.monotonic()

    with pytest.raises(PlatformError, match=r"org\.example:jar"):
        fetch(LOCK, tmp_path)

    assert time.monotonic() - began < 20
    assert not list(tmp_path.glob("partial-*"))


FETCH = """
import sys
from pathlib import Path
from tests.local.test_artifacts import LOCK
from mesh_stream.local.artifacts import fetch
fetch(LOCK, Path(sys.argv[1]))
"""


def test_a_killed_download_leaves_nothing_that_is_trusted(mirror: Mirror, tmp_path: Path) -> None:
    mirror.faults["registry-1.0.tar.gz"] = ["stall"]
    victim = subprocess.Popen([sys.executable, "-c", FETCH, str(tmp_path)])
    eventually(
        lambda: set(mirror.files) <= set(mirror.served), within=20, what="the download is under way"
    )
    victim.send_signal(signal.SIGKILL)
    victim.wait(10)
    assert list(tmp_path.glob("partial-*"))

    jars, home = fetch(LOCK, tmp_path)

    assert [jar.read_bytes() for jar in jars] == [JAR, OTHER]
    assert (home / "quarkus-run.jar").read_bytes() == b"run"
    assert names(tmp_path) == {"jar", "other", "registry"}


def test_two_at_once_download_once(mirror: Mirror, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: fetch(LOCK, tmp_path), range(2))

    assert first == second
    assert sorted(mirror.served) == sorted(mirror.files)


def outside() -> tarfile.TarInfo:
    return tarfile.TarInfo("../evil")


def absolute() -> tarfile.TarInfo:
    return tarfile.TarInfo("/tmp/evil")


def link() -> tarfile.TarInfo:
    info = tarfile.TarInfo("evil")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info


@pytest.mark.parametrize("make", [outside, absolute, link])
def test_a_member_that_is_no_file_below_the_folder_is_refused(
    make: object, mirror: Mirror, tmp_path: Path
) -> None:
    assert callable(make)
    evil = mirror.files["registry-1.0.tar.gz"] = tarball((make(), b""))
    lock = replace(LOCK, registry=artifact("registry", evil, "tar.gz"))

    with pytest.raises(PlatformError, match=r"refused to unpack .*evil"):
        fetch(lock, tmp_path / "cache")

    assert names(tmp_path / "cache") <= {"jar", "other"}
    assert not (tmp_path / "evil").exists()


def test_a_cache_that_cannot_be_written_says_so(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(MeshError, match=r"file.*MESH_CACHE"):
        fetch(LOCK, tmp_path / "file" / "cache")


def test_a_cache_whose_path_would_split_a_class_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match="MESH_CACHE"):
        fetch(LOCK, tmp_path / f"a{os.pathsep}b")


def test_the_lock_names_the_versions_it_was_made_for() -> None:
    lock = read_lock()
    kafka = {str(jar) for jar in lock.broker if jar.group == "org.apache.kafka"}

    assert KAFKA in kafka
    assert {coordinate.rsplit(":", 1)[1] for coordinate in kafka} == {KAFKA.rsplit(":", 1)[1]}
    assert (lock.registry.group, lock.registry.artifact, lock.registry.version) == REGISTRY[:3]
    assert len({jar.filename for jar in lock.broker}) == len(lock.broker)


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MESH_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"

    monkeypatch.delenv("MESH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "mesh-stream"

    # By the XDG specification a relative path is to be ignored.
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "mesh-stream"
