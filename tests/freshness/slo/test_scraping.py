"""What is generated, loaded by a real Prometheus that scrapes a monitor and the worker it names."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from mesh_stream.freshness.sli import State
from mesh_stream.freshness.slo.alerting import BURN, UPSTREAM
from mesh_stream.freshness.slo.files import files_of
from mesh_stream.freshness.slo.objectives import MINUTES, RECORDS
from mesh_stream.freshness.slo.recording import REMAINING
from mesh_stream.freshness.slo.scraping import prometheus as configuration
from mesh_stream.product.product import Product
from tests.deadline import eventually
from tests.freshness.slo.asking import queries_of
from tests.freshness.slo.conftest import put
from tests.freshness.slo.debian import Prometheus, program, running
from tests.freshness.slo.exporter import (
    Page,
    counted,
    metrics_of,
    monitored,
    served,
    targets_of,
    worked,
)

MINUTE = 1.0
TICK = 0.2
OWN, LATE, UNSEEN = "orders-completed", "products-inventory", "users-active"
BLAMES = {OWN: "own", LATE: "upstream", UNSEEN: "unseen"}
ALERTS = {(BURN, "page", OWN), (BURN, "ticket", OWN), (UPSTREAM, "notice", LATE)}
"""Who is told of what when each of these is late in its way."""


@dataclasses.dataclass
class Mesh:
    """A mesh that goes on by itself: each tick, a minute and some records of every product.

    Attributes:
        products: Its products.
        blames: Product -> whose it is that it is late; the others are not.
    """

    products: Mapping[str, Product]
    blames: Mapping[str, str] = dataclasses.field(default_factory=dict)
    monitor: Page = dataclasses.field(default_factory=Page)
    worker: Page = dataclasses.field(default_factory=Page)

    def tick(self) -> None:
        for product in self.products.values():
            bad = self.blames.get(product.name, "")
            monitored(self.monitor, product, State.STALE if bad else State.FRESH)
            counted(self.monitor, product, MINUTES, **({bad: 1} if bad else {"good": 1}))
            counted(self.worker, product, RECORDS, **({bad: 50} if bad else {"good": 50}))
            worked(self.worker, product, 50)


@contextmanager
def going_on(mesh: Mesh) -> Iterator[None]:
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(TICK):
            mesh.tick()

    mesh.tick()
    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@dataclasses.dataclass
class Scene:
    """A mesh, and the folders of the Prometheus that watches it."""

    mesh: Mesh
    folder: Path
    data: Path


@pytest.fixture
def scene(products: Mapping[str, Product], tmp_path: Path) -> Iterator[Scene]:
    program("prometheus")
    mesh = Mesh(products)
    with ExitStack() as stack:
        worker = stack.enter_context(served({"/metrics": metrics_of(mesh.worker)}))
        monitor = stack.enter_context(
            served(
                {
                    "/metrics": metrics_of(mesh.monitor),
                    "/targets": targets_of((worker, OWN, "0")),
                }
            )
        )
        files = files_of(products.values(), monitors=[monitor], minute=MINUTE)
        stack.enter_context(going_on(mesh))
        yield Scene(mesh, put(tmp_path / "slo", files), tmp_path / "data")


def remaining(prometheus: Prometheus, slo: str = MINUTES) -> dict[str, float]:
    """Product -> what is left of its error budget."""
    selector = f'{REMAINING}{{sloth_slo="{slo}"}}'
    return {labels["product"]: value for labels, value in prometheus.query(selector)}


def test_who_is_told_depends_on_who_is_to_blame_and_a_restart_forgives_nothing(
    scene: Scene,
) -> None:
    mesh = scene.mesh
    with running(scene.folder, scene.data) as prometheus:
        # Everything loads, and all is well.
        eventually(
            lambda: len(remaining(prometheus)) == len(mesh.products),
            within=30,
            what="every product's error budget is recorded",
        )
        targets = prometheus.targets()
        assert {job: [one["health"] for one in each] for job, each in targets.items()} == {
            "mesh-monitor": ["up"],
            "mesh-workers": ["up"],
        }
        (worker,) = targets["mesh-workers"]
        assert worker["labels"].items() >= {"product": OWN, "slot": "0"}.items()
        assert [rule for rule in prometheus.rules() if rule["health"] == "err"] == []
        assert prometheus.firing() == set()
        assert remaining(prometheus) == dict.fromkeys(mesh.products, 1.0)
        asked = list(queries_of(scene.folder / "dashboards", rate_interval="2s"))
        eventually(
            lambda: all(prometheus.query(one.expression) for one in asked),
            within=30,
            what="every panel of every dashboard has data",
        )

        # Three are late, each in its way: one by its own doing, one by its inputs', one unseen.
        mesh.blames = BLAMES

        def is_told() -> bool:
            left = remaining(prometheus)
            return prometheus.firing() == ALERTS and all(left[name] < 0 for name in BLAMES)

        eventually(is_told, within=30, what=f"{ALERTS} fire, and the budgets are used up")
        assert prometheus.firing() == ALERTS
        assert {name for name, budget in remaining(prometheus).items() if budget < 1} == set(BLAMES)
        mesh.blames = {}

    with running(scene.folder, scene.data) as prometheus:
        eventually(lambda: OWN in remaining(prometheus), within=30, what="it is watched again")

        # All has been good since; without the history, nothing would have been used up.
        assert remaining(prometheus)[OWN] < 0


def test_a_real_minute_is_scraped_four_times() -> None:
    written = configuration(["127.0.0.1:9390"], 60)

    assert written["global"] == {
        "scrape_interval": "15s",
        "scrape_timeout": "10s",
        "evaluation_interval": "5s",
    }


@pytest.mark.parametrize("minute", [1, 7.25, 30, 40, 60])
def test_a_scrape_never_takes_longer_than_until_the_next(minute: float) -> None:
    times = configuration(["127.0.0.1:9390"], minute)["global"]

    def seconds(text: str) -> float:
        return float(text[:-2]) / 1000 if text.endswith("ms") else float(text[:-1])

    assert 0 < seconds(times["scrape_timeout"]) <= seconds(times["scrape_interval"])
