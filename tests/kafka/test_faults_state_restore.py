"""Stores that are gone, old, damaged or elsewhere: restored from the changelog, before anything."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from mesh_stream.kafka import topics
from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness import broker
from tests.kafka.harness.reader import Reader
from tests.kafka.harness.slot import SlotProcess
from tests.kafka.harness.tallies import Kind
from tests.kafka.harness.tally_scene import TallyScene, tallying

pytestmark = pytest.mark.kafka

PLATFORM = 3
STOP_SECONDS = 10.0


def test_a_store_that_is_gone_old_damaged_or_another_slots_is_as_good_as_the_changelog(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with tallying(stack, tmp_path, seed, Kind.DIRECT, partitions=2) as torture:
        _take(torture, torture.working())
        _abort_something(torture)
        _take(torture, torture.working())
        early = tmp_path / "early"
        shutil.copytree(torture.state, early)

        # Gone, and killed: nothing is left but the changelog.
        slot = torture.working()
        torture.send(200)
        slot.kill()
        shutil.rmtree(torture.state)
        slot = torture.working()
        _take(torture, slot)
        assert sum(_restored(slot)) > 40

        # Old: it reads on from where it stands.
        shutil.rmtree(torture.state)
        shutil.copytree(early, torture.state)
        _take(torture, torture.working())

        # Another slot's, on another machine perhaps.
        slots = _folder(torture)
        shutil.move(slots / "0", slots / "1")
        _take(torture, torture.working(1))

        # Damaged: wiped, and said so.
        damaged = _damage(slots / "1", torture.random)
        slot = torture.working(1)
        _take(torture, slot)
        assert "is wiped, to be restored" in slot.said(), damaged

        torture.settle(within=30)
        torture.verify()


def test_a_compacted_changelog_is_worth_as_much(stack: Stack, tmp_path: Path, seed: int) -> None:
    with tallying(stack, tmp_path, seed, Kind.WINDOWED, partitions=2) as torture:
        at_once = {
            "min.compaction.lag.ms": "0", "min.cleanable.dirty.ratio": "0.01",
            "segment.ms": "500", "delete.retention.ms": "0",
        }  # fmt: skip
        topics.alter(torture.admin, torture.changelog, at_once)
        with _eager_cleaner(torture):
            slot = torture.working()
            for _ in range(6):
                torture.send(200)
                eventually(lambda: torture.lag() == 0, within=60, what="all input committed")
                Event().wait(0.5)
            written = sum(_ends(torture).values())
            eventually(
                lambda: _kept(torture) < written / 2,
                within=60,
                what="a changelog compacted to less than half",
            )
            slot.kill()
            shutil.rmtree(torture.state)
            slot = torture.working()
            torture.settle(within=60)
            torture.verify()
        assert sum(_restored(slot)) < written / 2


def test_a_restore_waits_for_what_is_undecided_and_can_be_stopped_meanwhile(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with tallying(stack, tmp_path, seed, Kind.DIRECT, partitions=2) as torture:
        slot = torture.working()
        torture.send(50)
        eventually(lambda: torture.lag() == 0, within=60, what="the first events committed")
        with _undecided(torture):
            # What is committed from here on nobody can read.
            torture.send(50)
            eventually(lambda: torture.lag() == 0, within=60, what="more events committed")
            slot.kill()
            shutil.rmtree(torture.state)
            slot = torture.working()
            began = time.monotonic()
            slot.signal(signal.SIGTERM)
            assert slot.wait(STOP_SECONDS + 5) == 0, slot.said()
            assert time.monotonic() - began < STOP_SECONDS

            torture.send(50)
            slot = torture.working()
            Event().wait(2)
            # It could only begin from a state that it does not know.
            assert torture.lag() == 50
        torture.settle(within=60)
        torture.verify()


def test_a_folder_that_cannot_be_used_ends_the_worker_and_costs_nothing(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with tallying(stack, tmp_path, seed, Kind.DIRECT, partitions=2) as torture:
        torture.state.write_text("no folder")
        torture.send(50)
        said = _refusal(torture)
        assert re.search(rf"state store in {torture.state}/\S+ cannot be opened", said)
        torture.state.unlink()

        older = torture.working(0)
        eventually(lambda: torture.lag() == 0, within=60, what="the first events committed")
        older.signal(signal.SIGSTOP)
        said = _refusal(torture)
        older.signal(signal.SIGCONT)
        assert f"is in use by process {older.pid}" in said
        torture.send(50)
        torture.settle(within=60)
        torture.verify()
        assert older.alive()


def test_a_full_disk_ends_the_worker_and_with_room_again_it_goes_on(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with (
        _small_disk(tmp_path / "state") as disk,
        tallying(stack, tmp_path, seed, Kind.DIRECT, partitions=2) as torture,
    ):
        slot = torture.working()
        torture.send(200)
        eventually(lambda: torture.lag() == 0, within=60, what="the first events committed")
        _fill(disk)
        slot.signal(signal.SIGTERM)
        # All of it is committed, whatever the store has of it.
        assert slot.wait(15) == 0
        assert "the last changes are not in" in slot.said()

        said = _refusal(torture)
        assert "No space left on device" in said
        assert "on a disk with free space; see to that and start the worker again" in said
        (disk / "ballast").unlink()
        torture.working()
        torture.send(100)
        torture.settle(within=60)
        torture.verify()


def _take(torture: TallyScene, slot: SlotProcess) -> None:
    """Have a worker take some events, and stop it."""
    torture.send(200)
    eventually(lambda: torture.lag() == 0, within=60, what="all input committed")
    slot.signal(signal.SIGTERM)
    assert slot.wait(15) == 0, slot.said()
    assert "restored, " in slot.said()


def _refusal(torture: TallyScene) -> str:
    slot = torture.slot(0)
    slot.start()
    assert slot.wait(60) == PLATFORM, slot.said()
    assert "Traceback" not in slot.said()
    return slot.said()


def _restored(slot: SlotProcess) -> list[int]:
    """Changelog records that it read for each of its partitions."""
    return [int(found) for found in re.findall(r"restored, (\d+) records in", slot.said())]


def _folder(torture: TallyScene) -> Path:
    [changelog] = (torture.state / torture.product.name).iterdir()
    return changelog


def _damage(slot: Path, chance: random.Random) -> str:
    """Overwrite the middle of a file that a store cannot do without; returns which."""
    files = [path for path in slot.rglob("*") if path.name.startswith(("MANIFEST", "CURRENT"))]
    file = chance.choice(sorted(files))
    content = bytearray(file.read_bytes())
    content[: len(content)] = chance.randbytes(len(content))
    file.write_bytes(content)
    return str(file)


def _foreign(torture: TallyScene) -> Producer:
    """Somebody who writes nonsense to the changelog, in a transaction that never counts."""
    servers = torture.stack.bootstrap_servers
    producer = Producer({"bootstrap.servers": servers, "transactional.id": torture.changelog})
    producer.init_transactions(30)
    producer.begin_transaction()
    for number in range(2):
        for key in (b"m", b"sk1", b"sk2", b"tnonsense"):
            producer.produce(torture.changelog, b"\xc1 nonsense", key, number)
    producer.flush(30)
    return producer


def _abort_something(torture: TallyScene) -> None:
    _foreign(torture).abort_transaction(30)


@contextmanager
def _undecided(torture: TallyScene) -> Iterator[None]:
    producer = _foreign(torture)
    try:
        yield
    finally:
        producer.abort_transaction(30)


def _ends(torture: TallyScene) -> dict[tuple[str, int], int]:
    return broker.ends(torture.admin, [torture.changelog], stable=True)


def _kept(torture: TallyScene) -> int:
    """Records that are left on the changelog."""
    reader = Reader(torture.stack.bootstrap_servers, [torture.changelog])
    end = _ends(torture)
    eventually(
        lambda: all(reader.position(*place) >= offset for place, offset in end.items()),
        within=30,
        what="the reader at the changelog's end",
    )
    reader.stop()
    return len(reader.records)


@contextmanager
def _eager_cleaner(torture: TallyScene) -> Iterator[None]:
    """A broker that looks for something to compact all the time."""

    def setting(operation: AlterConfigOpType, value: str | None) -> None:
        entry = ConfigEntry("log.cleaner.backoff.ms", value, incremental_operation=operation)
        [number] = torture.admin.list_topics(timeout=20).brokers
        resource = ConfigResource(ResourceType.BROKER, str(number), incremental_configs=[entry])
        for future in torture.admin.incremental_alter_configs([resource]).values():
            future.result(20)

    setting(AlterConfigOpType.SET, "500")
    try:
        yield
    finally:
        setting(AlterConfigOpType.DELETE, None)


@contextmanager
def _small_disk(disk: Path) -> Iterator[Path]:
    disk.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True
    )
    if mounting.returncode:
        pytest.skip("mounting a small disk takes rights that this user has not")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _fill(disk: Path) -> None:
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        try:
            while ballast.write(bytes(4096)):
                pass
        except OSError:
            return
