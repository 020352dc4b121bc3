from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from mesh_stream.errors import MeshError
from mesh_stream.freshness.slo import writing
from mesh_stream.freshness.slo.writing import MANIFEST, differences, write

FILES = {"rules/a.yml": "a", "rules/b.yml": "b", "prometheus.yml": "p"}


def found_in(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }


def test_the_folder_holds_what_it_is_given_and_is_current(tmp_path: Path) -> None:
    write(tmp_path / "new", FILES)

    assert found_in(tmp_path / "new") == FILES
    assert differences(tmp_path / "new", FILES) == ()


def test_only_what_was_once_written_is_removed(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    (tmp_path / "rules" / "mine.yml").write_text("mine")

    write(tmp_path, {"rules/a.yml": "a"})

    assert found_in(tmp_path) == {"rules/a.yml": "a", "rules/mine.yml": "mine"}


def test_the_manifest_is_one_that_sha256sum_reads(tmp_path: Path) -> None:
    write(tmp_path, FILES)

    assert (tmp_path / MANIFEST).read_text().splitlines() == [
        f"{hashlib.sha256(FILES[path].encode()).hexdigest()}  {path}" for path in sorted(FILES)
    ]


def test_every_difference_is_told_and_nothing_changed(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    (tmp_path / "prometheus.yml").unlink()
    (tmp_path / "rules" / "a.yml").write_text("changed")
    before = found_in(tmp_path)

    told = differences(tmp_path, {"rules/a.yml": "a", "prometheus.yml": "p"})

    assert told == (
        "prometheus.yml is missing",
        "rules/a.yml is not what the declarations say",
        f"{MANIFEST} is not what the declarations say",
        "rules/b.yml belongs to what is no longer declared",
    )
    assert found_in(tmp_path) == before


def test_what_was_changed_by_hand_is_put_right(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    (tmp_path / "rules" / "a.yml").write_text("changed")

    write(tmp_path, FILES)

    assert found_in(tmp_path) == FILES


def test_what_is_current_is_not_written_again(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    before = {path: path.stat().st_ino for path in tmp_path.rglob("*")}

    write(tmp_path, FILES)

    assert {path: path.stat().st_ino for path in tmp_path.rglob("*")} == before


def test_somebody_elses_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text("mine")

    with pytest.raises(MeshError, match=r"prometheus\.yml; name another folder"):
        write(tmp_path, FILES)

    assert found_in(tmp_path) == {"prometheus.yml": "mine"}


def test_who_is_cut_off_in_between_can_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, FILES)
    real, left = writing._replace, 3

    def cut_off(path: Path, text: str) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        real(path, text)

    monkeypatch.setattr(writing, "_replace", cut_off)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, {"new/1.yml": "1", "new/2.yml": "2"})
    monkeypatch.undo()
    assert (tmp_path / "new" / "1.yml").exists()

    write(tmp_path, {"new/2.yml": "2"})

    assert found_in(tmp_path) == {"new/2.yml": "2"}


@pytest.mark.parametrize("path", ["../outside.yml", "/etc/outside.yml", "a/../../outside.yml"])
def test_a_manifest_that_points_elsewhere_removes_nothing(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "slo"
    folder.mkdir()
    outside = tmp_path / "outside.yml"
    outside.write_text("not ours")
    (folder / MANIFEST).write_text(f"{'0' * 64}  {path}\n")

    with pytest.raises(MeshError, match="is not a manifest"):
        write(folder, FILES)

    assert outside.exists()


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)

    with pytest.raises(MeshError, match="No space left on device"):
        write(tmp_path, FILES)

    assert found_in(tmp_path) == {}


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "slo").write_text("")

    with pytest.raises(MeshError, match="cannot be used"):
        write(tmp_path / "slo", FILES)
    with pytest.raises(MeshError, match="cannot be used"):
        differences(tmp_path / "slo", FILES)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(MeshError, match="cannot be used"):
        write(tmp_path, FILES)
