from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mesh_stream.errors import StoreError
from mesh_stream.runtime import rocksdb as rocksdb_module
from mesh_stream.runtime import store as store_module
from mesh_stream.runtime.store import Position, Store
from tests.deadline import eventually

IDENTITY = "orders-by-customer mesh.orders-by-customer.changelog[0] topic-id"
DAY = 86_400.0
# Where hundreds of stores are made and removed: in memory, since each of them syncs its files.
SCRATCH = "/dev/shm" if Path("/dev/shm").is_dir() else None

SMALL = 6 * 64 << 10
"""So little memory that a few hundred kilobytes of changes fill several write buffers."""


def opened(folder: Path, *, identity: str = IDENTITY, max_age: float = DAY) -> Store:
    return Store.open(folder, identity=identity, max_age=max_age, memory_bytes=SMALL)


def now(changelog: int) -> Position:
    return Position(changelog, time.time())


def everything(store: Store) -> dict[bytes, bytes]:
    return dict(store.scan(b"", b"\xff" * 8, 1_000_000))


def generation(number: int) -> dict[bytes, bytes | None]:
    """One batch over always the same keys, each value saying which batch it is of.

    Batches differ in size, so that write buffers are full now after this one, now after that.
    """
    return {b"s%05d" % key: b"%08d" % number * (1 + number * 7 % 13) for key in range(200)}


def whole_generation(store: Store) -> int:
    """The one batch that the store is at; 0 for an empty store without a position."""
    found = everything(store)
    if not found:
        assert store.position is None
        return 0
    assert len(found) == 200
    assert len(set(found.values())) == 1
    assert store.get_many(list(found)) == list(found.values())
    number = int(next(iter(found.values()))[:8])
    assert store.position is not None
    assert store.position.changelog == number
    return number


KEYS = st.binary(min_size=1, max_size=3)
VALUES = st.binary(max_size=40)


class LikeADict(RuleBasedStateMachine):
    """Whatever is done to a store, it holds what a dict would hold, in the order of the bytes."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=SCRATCH))
        self.store = opened(self.folder)
        self.model: dict[bytes, bytes] = {}
        self.position: Position | None = None

    @rule(
        changes=st.dictionaries(KEYS, VALUES | st.none()),
        moves=st.booleans(),
        as_pairs=st.booleans(),
    )
    def apply(self, changes: dict[bytes, bytes | None], moves: bool, as_pairs: bool) -> None:
        if moves:
            self.position = now(self.position.changelog + 1 if self.position else 0)
        self.store.apply(changes.items() if as_pairs else changes, self.position if moves else None)
        for key, value in changes.items():
            if value is None:
                self.model.pop(key, None)
            else:
                self.model[key] = value

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = opened(self.folder)
        if self.position is None:
            # Nothing says which changes these are, nor how old: not to be trusted.
            self.model.clear()

    @rule()
    def wipe(self) -> None:
        self.store.wipe()
        self.model.clear()
        self.position = None

    @rule(keys=st.lists(KEYS, max_size=8))
    def get(self, keys: list[bytes]) -> None:
        assert self.store.get_many(keys) == [self.model.get(key) for key in keys]
        for key in keys:
            assert self.store.get(key) == self.model.get(key)

    @rule(start=st.binary(max_size=3), stop=st.binary(max_size=3), limit=st.integers(0, 8))
    def scan(self, start: bytes, stop: bytes, limit: int) -> None:
        between = sorted(item for item in self.model.items() if start <= item[0] < stop)
        assert self.store.scan(start, stop, limit) == between[:limit]

    @invariant()
    def is_like_the_dict(self) -> None:
        assert list(everything(self.store).items()) == sorted(self.model.items())
        assert self.store.position == self.position

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)


TestLikeADict = LikeADict.TestCase
TestLikeADict.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)


def test_the_last_of_pairs_with_one_key_counts(tmp_path: Path) -> None:
    store = opened(tmp_path)

    store.apply([(b"a", b"1"), (b"b", b"1"), (b"a", b"2"), (b"b", None)], now(1))

    assert everything(store) == {b"a": b"2"}
    store.close()


def test_the_empty_key_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.apply({b"a": b"1"}, now(1))

    with pytest.raises(ValueError, match="own"):
        store.apply({b"": b"1"}, now(2))
    with pytest.raises(ValueError, match="own"):
        store.get_many([b"a", b""])

    assert store.position is not None
    assert store.position.changelog == 1
    store.close()


def test_a_wrong_type_is_the_callers_fault_and_costs_no_state(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.apply({b"a": b"1"}, now(1))

    with pytest.raises(ValueError, match="bytes"):
        store.apply({b"b": b"2", b"c": "text"}, now(2))  # type: ignore[arg-type]
    with pytest.raises(KeyError, match="bytes"):
        store.get("a")  # type: ignore[arg-type]

    assert everything(store) == {b"a": b"1"}
    store.close()


def test_entries_are_counted_about(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert store.count() == 0

    store.apply(generation(1), now(1))

    assert store.count() == 200
    store.close()


def test_a_store_goes_from_one_thread_to_another(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as restorer:
        store = restorer.submit(opened, tmp_path).result()
        restorer.submit(store.apply, generation(1), now(1)).result()
        assert restorer.submit(whole_generation, store).result() == 1

    store.apply(generation(2), now(2))

    with ThreadPoolExecutor(1) as other:
        assert other.submit(whole_generation, store).result() == 2
        other.submit(store.close).result()


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.close()

    for use in (lambda: store.get(b"a"), lambda: store.apply({}, None), store.count):
        with pytest.raises(StoreError, match="closed"):
            use()
    store.close()


# What is not to be trusted


def test_a_store_of_another_identity_is_wiped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = opened(tmp_path)
    store.apply(generation(1), now(1))
    store.close()

    with caplog.at_level(logging.WARNING):
        store = opened(tmp_path, identity="another product")

    assert whole_generation(store) == 0
    assert f"the state of {IDENTITY}, not of another product" in caplog.text
    store.close()
    store = opened(tmp_path)
    assert whole_generation(store) == 0
    store.close()


@pytest.mark.parametrize(
    ("age", "trusted"), [(-3600.0, False), (-60.0, True), (990.0, True), (1010.0, False)]
)
def test_a_store_is_trusted_up_to_its_greatest_age(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, age: float, trusted: bool
) -> None:
    store = opened(tmp_path)
    store.apply(generation(7), Position(7, time.time() - age))
    store.close()

    with caplog.at_level(logging.WARNING):
        store = opened(tmp_path, max_age=1000.0)

    assert whole_generation(store) == (7 if trusted else 0)
    assert ("last written" in caplog.text) is not trusted
    store.close()


def test_a_database_that_no_store_wrote_is_wiped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from rocksdict import Options, Rdict

    foreign = Rdict(str(tmp_path / "rocksdb"), Options(raw_mode=True))
    foreign.put(b"s1", b"foreign")
    foreign.close()

    with caplog.at_level(logging.WARNING):
        store = opened(tmp_path)

    assert everything(store) == {}
    assert "does not say whose it is" in caplog.text
    store.close()


def test_a_store_of_another_format_is_wiped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "FORMAT", 2)
        store = opened(tmp_path)
        store.apply(generation(1), now(1))
        store.close()

    with caplog.at_level(logging.WARNING):
        store = opened(tmp_path)

    assert whole_generation(store) == 0
    assert "format" in caplog.text
    store.close()


def test_what_is_beside_the_stores_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not the store's")
    store = opened(tmp_path)
    store.apply(generation(1), now(1))
    store.close()

    opened(tmp_path, identity="another product").close()

    assert (tmp_path / "notes.txt").read_text() == "not the store's"


# Who else uses the folder

HOLD = """
import sys, threading
from pathlib import Path
from mesh_stream.runtime.store import Store
store = Store.open(Path(sys.argv[1]), identity="x", max_age=60)
print("held", flush=True)
threading.Event().wait(60)
"""


def test_a_held_folder_is_refused_naming_its_holder_until_that_dies(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"

    with pytest.raises(StoreError, match=rf"{tmp_path} is in use by process {holder.pid};"):
        opened(tmp_path)
    holder.kill()
    holder.communicate()

    opened(tmp_path).close()


def test_a_store_that_is_open_already_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path)

    with pytest.raises(StoreError, match=f"process {os.getpid()}"):
        opened(tmp_path)

    store.apply(generation(1), now(1))
    store.close()


# What a crash leaves

WRITE = """
import sys, time
from pathlib import Path
from mesh_stream.runtime.store import Position, Store
from tests.runtime.test_store import generation, opened, whole_generation
store = opened(Path(sys.argv[1]))
number = whole_generation(store)
while True:
    number += 1
    store.apply(generation(number), Position(number, time.time()))
    print(number, flush=True)
"""


def test_a_killed_writer_leaves_what_some_write_left(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails, to run it again
    chance = random.Random(seed)
    reached = []
    for _ in range(10):
        with subprocess.Popen(
            [sys.executable, "-c", WRITE, str(tmp_path)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            for _ in range(chance.randint(1, 60)):
                written = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            written = int((writer.stdout.read().split() or [b"%d" % written])[-1])

        store = opened(tmp_path)
        reached.append(whole_generation(store))
        store.close()

        assert reached[-1] <= written + 1
    assert reached == sorted(reached)
    assert reached[-1] > 0


def test_changes_are_flushed_every_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flushed() -> list[Path]:
        return list((tmp_path / "rocksdb").glob("*.sst"))

    store = opened(tmp_path)
    store.apply(generation(1), now(1))
    assert flushed() == []

    monkeypatch.setattr(store_module, "FLUSH_SECONDS", 0.0)
    store.apply(generation(2), now(2))

    eventually(flushed, within=10, what="a file with what was applied")
    store.close()


# What a bad disk leaves


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was written in two goes, so that it has more than one of some files."""
    folder = tmp_path_factory.mktemp("sound")
    for number in (1, 2):
        store = opened(folder)
        store.apply(generation(number), now(number))
        store.close()
    return folder


def damaged_files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "rocksdb").iterdir() if path.stat().st_size)


@given(data=st.data())
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damage_is_never_read_as_state(sound: Path, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
        folder = Path(scratch) / "store"
        shutil.copytree(sound, folder)
        path = data.draw(st.sampled_from(damaged_files(folder)), label="file")
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1), label="at")
        match data.draw(st.sampled_from(["flip", "cut", "zeros", "remove"]), label="how"):
            case "flip":
                content[at] ^= data.draw(st.integers(1, 255), label="bits")
                path.write_bytes(content)
            case "cut":
                path.write_bytes(content[:at])
            case "zeros":
                path.write_bytes(content[:at] + bytes(len(content) - at))
            case _:
                path.unlink()

        store = opened(folder)
        try:
            found = whole_generation(store)
        except StoreError:
            store.close()
            store = opened(folder)
            assert whole_generation(store) == 0
        else:
            assert found in (0, 1, 2)
        store.apply(generation(3), now(3))
        store.close()

        store = opened(folder)
        assert whole_generation(store) == 3
        store.close()


def spoil_a_block(folder: Path) -> None:
    """Flip bytes in the middle of every table: past what is read at opening."""
    for path in (folder / "rocksdb").glob("*.sst"):
        content = bytearray(path.read_bytes())
        content[len(content) // 4] ^= 0xFF
        path.write_bytes(content)


MANY = [b"s%05d" % key for key in range(2_000)]

READ: dict[str, Callable[[Store], object]] = {
    "get": lambda store: [store.get(key) for key in MANY],
    "get_many": lambda store: store.get_many(MANY),
    "scan": lambda store: store.scan(b"", b"\xff", len(MANY)),
}


@pytest.mark.parametrize("way", READ)
def test_damage_met_while_reading_wipes_the_store_and_says_what_to_do(
    tmp_path: Path, way: str
) -> None:
    chance = random.Random(1)
    store = opened(tmp_path)
    store.apply({key: chance.randbytes(100) for key in MANY}, now(1))
    store.close()
    spoil_a_block(tmp_path)
    store = opened(tmp_path)
    trusted = store.position

    with pytest.raises(StoreError, match=r"damaged and is wiped.*start the worker again"):
        READ[way](store)

    assert trusted is not None
    assert store.position is None
    with pytest.raises(StoreError, match="closed"):
        store.get(b"s00001")
    store.close()
    store = opened(tmp_path)
    assert everything(store) == {}
    store.close()


# What the machine refuses


@pytest.mark.parametrize("behind", ["flushes", "merges"])
def test_a_write_that_cannot_be_made_is_given_up_after_a_while_and_costs_no_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behind: str
) -> None:
    store = opened(tmp_path)
    store.apply(generation(1), now(1))

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "STALL_SECONDS", 0.05)
        if behind == "flushes":
            patch.setattr(store_module, "wrote", lambda *_: False)
        else:
            patch.setattr(rocksdb_module, "FILES_TO_MERGE", -1)
        with pytest.raises(StoreError, match=r"cannot be written: flushes and merges .* behind"):
            store.apply(generation(2), now(2))

    assert whole_generation(store) == 1
    store.apply(generation(3), now(3))
    assert whole_generation(store) == 3
    store.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(StoreError, match=rf"{tmp_path}/file/0 cannot be opened.*may write"):
        opened(tmp_path / "file" / "0")


FILL = """
import os, resource, sys, time
from pathlib import Path
from mesh_stream.errors import StoreError
from mesh_stream.runtime.store import Position
from tests.runtime.test_store import generation, opened, whole_generation
if sys.argv[2:]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
store = opened(Path(sys.argv[1]))
number = whole_generation(store)
try:
    while number < 10_000:
        number += 1
        changes = generation(number) | {b"t%08d" % number: os.urandom(50_000)}
        store.apply(changes, Position(number, time.time()))
except StoreError as error:
    print(error)
    store.close()
    if not sys.argv[2:]:
        (Path(sys.argv[1]).parent / "ballast").unlink()
        store = opened(Path(sys.argv[1]))
        print("again at", store.position.changelog)
        store.apply(generation(number), Position(number, time.time()))
        store.close()
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True
    )
    if mounting.returncode:
        pytest.skip("mounting a small disk takes rights that this user has not")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_told_and_what_is_on_it_stays_whole(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(4 << 20))

    filling = subprocess.run(
        [sys.executable, "-c", FILL, str(small_disk / "0")], capture_output=True, text=True
    )

    assert filling.returncode == 0, filling.stderr
    assert "No space left on device" in filling.stdout
    assert f"{small_disk}/0 cannot be written" in filling.stdout
    assert "again at" in filling.stdout
    store = opened(small_disk / "0")
    assert set(generation(1)) <= set(everything(store))
    store.close()


def test_a_limit_on_file_sizes_is_told(tmp_path: Path) -> None:
    filling = subprocess.run(
        [sys.executable, "-c", FILL, str(tmp_path), "60000"], capture_output=True, text=True
    )

    assert filling.returncode == 0, filling.stderr
    assert "File too large" in filling.stdout
    store = opened(tmp_path)
    store.apply(generation(1), now(1))
    store.close()
