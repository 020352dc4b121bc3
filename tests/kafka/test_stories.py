"""Five stories of freshness, with the real parts: workers, monitor, generated rules, Prometheus.

Five products begin alike and well. Then one goes on so, one's input falls silent, one's worker
becomes slow, one's is killed, and one's input comes late. What fires, for whom, and what does not
is what an SRE would be woken by. A minute lasts a second here; everything else is as deployed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from confluent_kafka import Producer

from mesh_stream.freshness.slo.scraping import LEAST_EVALUATION
from mesh_stream.local import ports
from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.freshness.slo import debian
from tests.freshness.slo.asking import queries_of
from tests.freshness.slo.debian import Prometheus
from tests.kafka.declaring import unique
from tests.kafka.harness.nursery import ROOT
from tests.kafka.harness.slot import SlotProcess

pytestmark = pytest.mark.kafka

Found = TypeVar("Found")

FRESHNESS = 4
"""Seconds; what every product promises, in 99.9% of the minutes."""
BUDGET = 0.001
"""The share of its minutes that may be bad."""
UNSEEN = 0.2
"""The most of the minutes, which last a second, that a busy machine may keep from being seen."""
RATE = 3
WELL, SILENT, SLOW, KILLED, LATE = STORIES = ("well", "silent", "slow", "killed", "late")
PAGE, TICKET = ("MeshFreshnessBudgetBurn", "page"), ("MeshFreshnessBudgetBurn", "ticket")
NOTICE = ("MeshUpstreamLate", "notice")
LEAST_COUNTED = 'min(mesh_slo_events_total{slo="minutes"})'

DECLARATION = """\
data_product:
  name: {name}
  owner: stories-team
  description: "What becomes of a promise"
  sla: {{freshness: {freshness}_seconds, availability: 99.9%}}
  schema:
    - id: string
    - at: timestamp
  inputs:
    - {{topic: raw.{name}, format: json, event_time: at}}
  output: {{key: id, event_time: at, partitions: 1}}
  quality:
    - {{rule: not_null, column: id}}
"""
TRANSFORMATION = """\
import time
from datetime import datetime
from pathlib import Path

import msgspec

SLOW = Path({slow!r})


class Event(msgspec.Struct):
    at: datetime
    id: str | None = None


def passed_on(event: Event):
    if SLOW.exists():
        time.sleep(0.9)
    return {{"id": event.id, "at": event.at}}
"""


@dataclass
class Source:
    """Sends events of every product, a few a second, until it is stopped.

    Attributes:
        silent: Products that get none.
        late: Product -> seconds that its events are old when they are sent.
    """

    producer: Producer
    names: Mapping[str, str]
    silent: set[str] = field(default_factory=set)
    late: dict[str, float] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        number = 0
        while not self.over.wait(1 / RATE):
            number += 1
            for story, name in self.names.items():
                if story in self.silent:
                    continue
                at = datetime.fromtimestamp(time.time() - self.late.get(story, 0), UTC)
                event = {
                    # One of ten breaks the rule: rejects are no lateness.
                    "id": None if number % 10 == 0 else f"{story}-{number}",
                    "at": at.isoformat(),
                }
                self.producer.produce(f"raw.{name}", json.dumps(event), str(number))
            self.producer.poll(0)
        self.producer.flush(10)


@dataclass
class Play:
    """Everything that runs.

    Attributes:
        folder: Where rules, dashboards and the configuration of Prometheus are.
        slow: While this is there, each event of the slow product keeps its worker for a while.
    """

    names: Mapping[str, str]
    environment: Mapping[str, str]
    source: Source
    workers: Mapping[str, SlotProcess]
    folder: Path
    slow: Path
    monitor_port: int
    cleanup: ExitStack
    monitor: subprocess.Popen[bytes] | None = None

    def watch(self) -> None:
        """Start the monitor."""
        port = str(self.monitor_port)
        command = [sys.executable, "-m", "mesh_stream.cli", "monitor", "--minute", "1"]
        log = self.cleanup.enter_context((self.folder.parent / "monitor.log").open("ab"))
        self.monitor = subprocess.Popen(
            [*command, "--metrics-port", port],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            stdout=log,
            stderr=log,
        )

    def kill_monitor(self) -> None:
        """Have it gone."""
        if self.monitor is not None:
            self.monitor.kill()
            self.monitor.wait()


@pytest.fixture(scope="module")
def play(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    debian.program("prometheus")
    folder = tmp_path_factory.mktemp("stories")
    names = {story: unique(story) for story in STORIES}
    for story, name in names.items():
        product = folder / "products" / "stories" / name
        (product / "src" / "transformations").mkdir(parents=True)
        declaration = DECLARATION.format(name=name, freshness=FRESHNESS)
        (product / "data_product.yaml").write_text(declaration)
        (product / "src" / "transformations" / "passed_on.py").write_text(
            TRANSFORMATION.format(slow=str(folder / f"{story}-is-slow"))
        )
    environment = {
        "MESH_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "MESH_REGISTRY_URL": stack.registry_url,
        "MESH_PRODUCTS": str(folder / "products"),
        "MESH_STATE": str(folder / "state"),
    }
    (port,) = ports.choose([None])
    rules = ["slo", "--out", str(folder / "slo"), "--minute", "1"]
    for arguments in (["apply", "--create-inputs"], [*rules, "--monitor", f"127.0.0.1:{port}"]):
        command = [sys.executable, "-m", "mesh_stream.cli", *arguments]
        subprocess.run(
            command, cwd=ROOT, env={**os.environ, **environment}, check=True, capture_output=True
        )
    workers = {
        story: SlotProcess(name, 0, environment=environment, log=folder / f"{story}.log")
        for story, name in names.items()
    }
    source = Source(Producer({"bootstrap.servers": stack.bootstrap_servers}), names)
    sending = threading.Thread(target=source.run)
    with ExitStack() as cleanup:
        slow = folder / f"{SLOW}-is-slow"
        playing = Play(names, environment, source, workers, folder / "slo", slow, port, cleanup)
        for worker in workers.values():
            cleanup.callback(worker.end)
            worker.start()
        cleanup.callback(playing.kill_monitor)
        cleanup.callback(sending.join)
        cleanup.callback(source.over.set)
        for worker in workers.values():
            eventually(worker.is_reading, within=60, what="every worker reads")
        sending.start()
        playing.watch()
        yield playing


@contextmanager
def prometheus(play: Play) -> Iterator[Prometheus]:
    with debian.running(play.folder, play.folder.parent / "prometheus") as running:
        yield running


def fired(found: Prometheus, play: Play) -> dict[str, set[tuple[str, ...]]]:
    """Story -> (alert, severity) of what fires now; what is of no story is under "mesh"."""
    stories = {name: story for story, name in play.names.items()}
    alerts: dict[str, set[tuple[str, ...]]] = {}
    for alert, severity, product in found.firing():
        alerts.setdefault(stories.get(product, "mesh"), set()).add((alert, severity))
    return alerts


def value(found: Prometheus, expression: str) -> float | None:
    """The one sample that an expression comes to, if there is one."""
    samples = found.query(expression)
    assert len(samples) <= 1, samples
    return samples[0][1] if samples else None


def bad(found: Prometheus, name: str) -> dict[tuple[str, str], float]:
    """(SLO, blame) -> the bad events of a product; those of which there are any."""
    samples = found.query(f'mesh_slo_bad_events_total{{product="{name}"}} > 0')
    return {(labels["slo"], labels["blame"]): count for labels, count in samples}


def comes(condition: Callable[[], Found], *, within: float, what: str) -> Found:
    """What `eventually` finds, asked no more often than Prometheus has something new to say."""

    def asked() -> Found:
        found = condition()
        if not found:
            threading.Event().wait(LEAST_EVALUATION)
        return found

    return eventually(asked, within=within, what=what)


def stays_green(found: Prometheus, name: str) -> None:
    """Nobody is to blame for any event of a product; it pays for what was not seen, and no more.

    Of minutes that last a second, a busy machine keeps the monitor from seeing some: these are as
    bad as any, and nobody's.
    """
    minutes = f'product="{name}",slo="minutes"'
    asked = f"max(mesh_slo_events_total{{{minutes}}})"
    counted, lost = value(found, asked), bad(found, name)
    assert counted
    unseen = lost.pop(("minutes", "unseen"), 0)
    sys.stdout.write(f"{name}: {unseen:g} of {counted:g} minutes were not seen\n")
    assert lost == {}
    assert unseen <= UNSEEN * counted
    # Both are asked at once, and what is left is worked out more often than what it comes from.
    one = f'product="{name}",sloth_slo="minutes"'
    share = f'sum(mesh:sli_error:ratio_rate30d{{{one},blame="unseen"}})'
    left = f"sum(slo:period_error_budget_remaining:ratio{{{one}}})"
    exact = f"abs({left} - (1 - {share} / {BUDGET})) < 1e-6"
    comes(lambda: found.query(exact), within=20, what=f"{name} pays for what nobody saw")
    whole = f"{name} has all of its budget, or something was not seen"
    comes(lambda: bad(found, name) or value(found, left) == 1, within=20, what=whole)


def test_who_is_paged_for_what_and_who_is_not(play: Play) -> None:
    names = play.names
    with prometheus(play) as found:
        # All is well.
        states = 'sum(mesh_freshness_state{state="fresh"}) == 5'
        comes(lambda: value(found, states), within=60, what="all five are fresh")
        minutes = f"{LEAST_COUNTED} > 10"
        comes(lambda: value(found, minutes), within=60, what="ten minutes were counted")
        counted = 'sum(mesh_slo_events_total{slo="records"}) > 100'
        comes(lambda: value(found, counted), within=60, what="records were counted")

        assert fired(found, play) == {}
        for name in names.values():
            stays_green(found, name)

        # Every panel shows something.
        for panel in queries_of(play.folder / "dashboards", rate_interval="10s"):
            what = f"{panel.dashboard}, {panel.panel}: {panel.expression}"
            comes(partial(found.query, panel.expression), within=10, what=what)

        # Four things go wrong, or seem to.
        play.workers[KILLED].kill()
        play.source.silent.add(SILENT)
        play.slow.touch()
        play.source.late[LATE] = 100.0
        expected = {SLOW: {PAGE, TICKET}, KILLED: {PAGE, TICKET}, LATE: {NOTICE}}
        seen: dict[str, set[tuple[str, ...]]] = {}

        def all_fire() -> bool:
            for story, alerts in fired(found, play).items():
                seen.setdefault(story, set()).update(alerts)
            return seen == expected

        comes(all_fire, within=60, what=f"these and no others fire: {expected}")
        # A dead worker says nothing: the monitor is the witness, and soon.
        due = f'mesh_waiting_event_timestamp_seconds{{product="{names[KILLED]}"}} + {FRESHNESS}'
        passed = value(found, due)
        assert passed is not None
        (paged,) = (
            datetime.fromisoformat(alert["activeAt"]).timestamp()
            for alert in found.get("alerts")["alerts"]
            if (alert["labels"]["product"], alert["labels"]["severity"]) == (names[KILLED], "page")
        )
        sys.stdout.write(f"paged {paged - passed:.2f} s after the objective had passed\n")
        assert -1 < paged - passed < 5

        # It stays at that, also when the silent input is silent for long.
        idle = f'mesh_freshness_state{{product="{names[SILENT]}",state="idle"}} == 1'
        comes(lambda: value(found, idle), within=30, what="silence is no lateness")
        later = f"{value(found, LEAST_COUNTED)} + 10 < {LEAST_COUNTED}"
        comes(lambda: all_fire() and value(found, later), within=90, what="time passes")
        assert seen == expected

        # Whose it is: by records where there are any, by minutes in any case.
        blamed = {
            SLOW: {("records", "own"), ("minutes", "own")},
            LATE: {("records", "upstream"), ("minutes", "upstream")},
            KILLED: {("minutes", "own")},
        }
        for story, whose in blamed.items():
            assert bad(found, names[story]).keys() - {("minutes", "unseen")} == whose, story
            left = "slo:period_error_budget_remaining:ratio"
            spent = f'{left}{{product="{names[story]}",sloth_slo="minutes"}} < 1'
            comes(partial(found.query, spent), within=20, what=f"{story} spends its budget")
        stays_green(found, names[WELL])
        stays_green(found, names[SILENT])

        of = f'product="{names[KILLED]}",blame="own"'
        spent = f"sum(sum_over_time(mesh:slo_bad_events:increase4m{{{of}}}[1h]))"
        burnt = value(found, spent)
        assert burnt

    # Everything begins anew, and what was spent stays spent.
    play.kill_monitor()
    play.watch()
    play.workers[KILLED].start()
    play.slow.unlink()
    play.source.late.clear()
    play.source.silent.clear()
    with prometheus(play) as found:
        comes(lambda: value(found, states), within=90, what="all five are fresh again")
        kept = value(found, spent)

        assert kept is not None
        assert kept >= burnt
        comes(
            lambda: PAGE not in fired(found, play).get(KILLED, set()),
            within=60,
            what="a page ends",
        )
