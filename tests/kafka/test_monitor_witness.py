"""The monitor as a witness: it writes nothing, agrees with another, and outlasts a broker."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from confluent_kafka import Producer

from mesh_stream.freshness.sli import FRESH, IDLE, OWN, UNKNOWN, State
from mesh_stream.kafka.extent import ends, layouts
from mesh_stream.local import stack as room
from mesh_stream.local.stack import Stack
from mesh_stream.runtime.status import STATUS_TOPIC
from tests.cli.calling import calling, environment, started
from tests.deadline import eventually
from tests.kafka.declaring import unique
from tests.kafka.harness import broker
from tests.kafka.watching import FRESHNESS, Watch, monitoring, product_of

pytestmark = pytest.mark.kafka

WITHIN = 20.0


@pytest.fixture
def watch(stack: Stack, tmp_path: Path) -> Iterator[Watch]:
    with product_of(stack, tmp_path) as watch:
        yield watch


@pytest.fixture(scope="module")
def worked(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    with product_of(stack, tmp_path_factory.mktemp("worked")) as watch:
        watch.worker()
        yield watch


def test_nothing_is_written_and_no_group_is_joined(watch: Watch) -> None:
    watch.send()
    admin = broker.client(watch.stack.bootstrap_servers)

    def everything() -> object:
        names = set(admin.list_topics(timeout=WITHIN).topics) - {STATUS_TOPIC}
        found = layouts(admin, names, within=WITHIN)
        reached = ends(admin, found.partitions(names), within=WITHIN)
        groups = admin.list_consumer_groups(request_timeout=WITHIN).result(WITHIN)
        return reached, {group.group_id for group in groups.valid}

    # The broker makes its own topic of groups for whoever is the first to ask.
    broker.committed(watch.stack.bootstrap_servers, unique("nobody"), watch.raw)
    before = everything()
    with monitoring(watch) as watching:
        watching.until(IDLE)
        watching.until(OWN)
        assert broker.members(admin, watch.product.group) == []
    assert everything() == before


def test_what_a_killed_workers_transaction_holds_up_is_seen_to_wait(watch: Watch) -> None:
    worker = watch.worker(busiest=600.0, calmest=600.0)
    watch.send()
    admin = broker.client(watch.stack.bootstrap_servers)
    output = [watch.product.output.topic]

    def is_open() -> bool:
        stable = broker.ends(admin, output, stable=True)
        return broker.ends(admin, output, stable=False) != stable

    eventually(is_open, within=WITHIN, what="an open transaction")
    worker.kill()
    with monitoring(watch) as watching:
        reading = watching.until(OWN, within=8)
        assert is_open(), "nothing was proven: the transaction is over"
        assert reading.seen.unread == 1
        assert reading.seen.evidence.newest_fact is None


def test_behind_the_last_record_only_markers_wait_for_nobody(watch: Watch) -> None:
    watch.worker()
    watch.send()
    transacting = Producer(
        {"bootstrap.servers": watch.stack.bootstrap_servers, "transactional.id": unique("source")}
    )
    transacting.init_transactions(WITHIN)
    with monitoring(watch) as watching:
        watching.until(FRESH, IDLE)
        for worker in watch.slots:
            eventually(lambda: not watching.reading.seen.unread, within=WITHIN, what="all is read")
            worker.kill()
        for end in (transacting.abort_transaction, transacting.abort_transaction):
            transacting.begin_transaction()
            transacting.produce(watch.raw, b"{}", partition=0)
            assert transacting.flush(WITHIN) == 0
            end(WITHIN)
        eventually(lambda: watching.reading.seen.unread == 4, within=WITHIN, what="markers")
        assert watching.reading.seen.evidence.waiting is None
        watching.until(IDLE)
        watching.stays(IDLE, seconds=FRESHNESS)


def test_a_raw_topic_that_is_made_anew_is_read_from_its_beginning(watch: Watch) -> None:
    worker = watch.worker()
    for _ in range(3):
        watch.send()
    admin = broker.client(watch.stack.bootstrap_servers)
    with monitoring(watch) as watching:
        watching.until(FRESH)
        eventually(lambda: not watching.reading.seen.unread, within=WITHIN, what="all is read")
        worker.kill()
        broker.delete_topic(admin, watch.raw)
        broker.create_topic(admin, watch.raw, 2)
        watching.until(IDLE, within=30)
        watch.send()
        # Its group has read three records of the old one, and none of this one.
        reading = watching.until(OWN, within=30)
        assert reading.seen.unread == 1


def test_what_waited_on_a_raw_topic_that_was_gone_for_a_while_waits_no_more(watch: Watch) -> None:
    admin = broker.client(watch.stack.bootstrap_servers)
    with monitoring(watch) as watching:
        watch.send(late=1_000)
        watching.until(OWN)
        broker.delete_topic(admin, watch.raw)
        gone = f"topic {watch.raw} does not exist"
        eventually(lambda: gone in watching.reading.seen.problem, within=WITHIN, what=gone)
        broker.create_topic(admin, watch.raw, 2)
        watch.send()
        since = time.time() - 1
        eventually(lambda: not watching.reading.seen.problem, within=WITHIN, what="it is seen")
        waiting = watching.reading.seen.evidence.waiting
        assert waiting is not None
        assert waiting.event_time > since


def test_once_prints_what_every_product_is(
    watch: Watch, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    env = environment(watch.stack, watch.root / "products")
    with calling(capsys, monkeypatch, env) as call:
        quiet = call("monitor", "--once", "--json")
        (document,) = json.loads(quiet.out)
        assert (quiet.code, document["state"], document["blame"]) == (0, "idle", None)
        assert document["problem"] is None
        watch.send(late=60)
        watch.send(1, late=FRESHNESS + 1)
        stale = call("monitor", "--once")
        lines = stale.out.splitlines()
        assert stale.code == 1
        assert lines[0].split()[:3] == ["PRODUCT", "STATE", "BLAME"]
        assert lines[1].split()[:2] == [f"faults/{watch.product.name}", State.STALE.value]


# Of one product, whose worker outlives all but the last


def test_the_command_serves_what_it_sees_and_counts_nothing_while_it_is_frozen(
    worked: Watch,
) -> None:
    watch = worked
    watch.send()
    arguments = ["monitor", "--minute", "1", "--metrics-port", "0"]
    env = environment(watch.stack, watch.root / "products")
    with started(*arguments, env=env) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        while "monitor: http://" not in said:
            assert said, "it ended"
            said = process.stderr.readline()
        address = said.strip().removeprefix("monitor: ").removesuffix("/metrics")

        def page(path: str) -> str:
            with urlopen(address + path, timeout=10) as answer:
                text: str = answer.read().decode()
                return text

        def counted() -> int:
            lines = page("/metrics").splitlines()
            found = [line for line in lines if line.startswith("mesh_slo_events_total{")]
            (line,) = [line for line in found if 'slo="minutes"' in line]
            return int(float(line.split()[-1]))

        assert page("/-/healthy") == "looking\n"
        targets = eventually(lambda: json.loads(page("/targets")), within=WITHIN, what="a target")
        assert targets[0]["labels"] == {"product": watch.product.name, "slot": "0"}
        eventually(counted, within=WITHIN, what="a minute")
        os.kill(process.pid, signal.SIGSTOP)
        began, before = time.monotonic(), time.time()
        eventually(lambda: time.monotonic() > began + 8, within=20, what="eight minutes")
        os.kill(process.pid, signal.SIGCONT)
        at_thaw = counted()
        assert at_thaw < time.time() - before, "minutes in which it stood still were counted"
        process.terminate()
        asked = time.monotonic()
        assert process.wait(15) == 0
        assert time.monotonic() - asked < 9


def test_without_a_broker_it_is_unknown_and_afterwards_what_it_was(worked: Watch) -> None:
    watch, (worker,) = worked, worked.slots
    watch.send()
    with monitoring(watch) as watching:
        watching.until(FRESH, IDLE)
        part = watch.stack.brokers[0].name
        try:
            room.kill(watch.stack, part)
            watching.until(UNKNOWN)
            assert watching.reading.seen.problem
        finally:
            room.restart(watch.stack, part)
        reading = watching.until(FRESH, IDLE, within=60)
        assert reading.seen.evidence.newest_fact is not None
        assert worker.alive()
        watch.send()
        watching.until(FRESH, within=30)


def test_two_monitors_count_the_same(worked: Watch) -> None:
    """The last here: it kills the others' worker."""
    watch, (worker,) = worked, worked.slots
    watch.send()
    with monitoring(watch) as one, monitoring(watch) as other:
        for watching in (one, other):
            watching.until(FRESH, IDLE)
        began = time.time()
        watch.send()
        eventually(lambda: time.time() > began + 3, within=10, what="some minutes")
        worker.kill()
        watch.send()
        for watching in (one, other):
            watching.until(OWN)
        eventually(lambda: time.time() > began + 12, within=30, what="more minutes")
        minutes = [watching.monitor.minutes[watch.product.name] for watching in (one, other)]
        for each in zip(
            (minutes[0].good, *minutes[0].bad.values()),
            (minutes[1].good, *minutes[1].bad.values()),
            strict=True,
        ):
            # One began a moment before the other; and looks are not taken at the same instant.
            assert abs(each[0] - each[1]) <= 2, minutes
