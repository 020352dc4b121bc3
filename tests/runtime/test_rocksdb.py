from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from mesh_stream.runtime import store as store_module
from mesh_stream.runtime.rocksdb import is_behind, options, wrote
from tests.deadline import eventually
from tests.runtime.test_store import SCRATCH, generation, now, opened

OPEN = """
import sys
from pathlib import Path
from tests.runtime.test_store import opened, whole_generation
print(whole_generation(opened(Path(sys.argv[1]))))
"""


@pytest.mark.parametrize("record", [1, 3])
@pytest.mark.parametrize("kind", [5, 6, 7, 8, 11])
def test_a_record_type_that_rocksdb_spins_on_is_damage(
    tmp_path: Path, record: int, kind: int
) -> None:
    for number in (1, 2):
        store = opened(tmp_path)
        store.apply(generation(number), now(number))
        store.close()
    (manifest,) = (tmp_path / "rocksdb").glob("MANIFEST-*")
    content = bytearray(manifest.read_bytes())
    at = 0
    for _ in range(record):
        at += 7 + int.from_bytes(content[at + 4 : at + 6], "little")
    content[at + 6] = kind
    manifest.write_bytes(content)

    # In a process that can be given up: a call that spins holds the interpreter for ever.
    opening = subprocess.run(
        [sys.executable, "-c", OPEN, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert opening.returncode == 0, opening.stderr
    assert opening.stdout == "0\n"
    assert f"{manifest.name} is damaged at byte {at}" in opening.stderr


def test_a_manifest_of_several_blocks_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "FLUSH_SECONDS", 0.0)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        store = opened(Path(folder))
        (manifest,) = (Path(folder) / "rocksdb").glob("MANIFEST-*")
        number = 0
        while manifest.stat().st_size < 2 * 32_768 and number < 5_000:
            number += 1
            store.apply({b"s": b"%d" % number}, now(number))
        store.close()
        assert manifest.stat().st_size > 2 * 32_768

        store = opened(Path(folder))

        assert store.get(b"s") == b"%d" % number
        store.close()


def test_a_write_does_not_wait_for_flushes(tmp_path: Path) -> None:
    database = Rdict(str(tmp_path), options(6 * 64 << 10))

    made = [wrote(database, {b"%d" % i: os.urandom(40_000)}, (b"", b"")) for i in range(300)]

    assert not all(made)
    eventually(
        lambda: wrote(database, {b"a": b"b"}, (b"", b"")), within=30, what="a write after flushes"
    )
    assert [database.get(b"%d" % i) is not None for i in range(300)] == made
    database.close()


def test_what_is_written_is_not_logged_as_well(tmp_path: Path) -> None:
    database = Rdict(str(tmp_path), options(24 << 20))

    assert wrote(database, {b"a": bytes(100_000)}, (b"", b""))

    assert sum(path.stat().st_size for path in tmp_path.glob("*.log")) == 0
    database.close()


def test_many_files_that_are_to_be_merged_are_being_behind(tmp_path: Path) -> None:
    unmerged = Options(raw_mode=True)
    unmerged.set_disable_auto_compactions(True)
    database = Rdict(str(tmp_path), unmerged)
    behind = []
    for number in range(37):
        wrote(database, {b"a": b"%d" % number}, (b"", b""))
        database.flush()
        behind.append(is_behind(database))

    assert behind == [False] * 36 + [True]
    database.close()
