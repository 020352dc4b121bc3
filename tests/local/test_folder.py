from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mesh_stream.errors import PlatformError
from mesh_stream.local.folder import locked, replace_file

HOLD = """
import sys, threading
from pathlib import Path
from mesh_stream.local.folder import locked
with locked(Path(sys.argv[1]), within=5):
    print("held", flush=True)
    threading.Event().wait(60)
"""


def test_a_held_folder_is_not_had_by_another(tmp_path: Path) -> None:
    with (
        locked(tmp_path, within=1),
        pytest.raises(PlatformError, match=r"in use by another"),
        locked(tmp_path, within=0.1),
    ):
        pass


def test_a_released_folder_is_had_by_who_waits(tmp_path: Path) -> None:
    had = threading.Event()

    def wait_for_it() -> None:
        with locked(tmp_path, within=10):
            had.set()

    waiting = threading.Thread(target=wait_for_it)
    with locked(tmp_path, within=1):
        waiting.start()
        assert not had.wait(0.2)
    waiting.join()

    assert had.is_set()


def test_the_folder_of_a_killed_holder_is_free(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    holder.kill()
    holder.communicate()

    with locked(tmp_path, within=1):
        assert list(tmp_path.iterdir()) == []


def test_a_replaced_file_is_whole_and_alone(tmp_path: Path) -> None:
    file = tmp_path / "stack.json"
    replace_file(file, b"old")

    replace_file(file, b"new")

    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]
