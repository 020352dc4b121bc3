from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest

from mesh_stream.console import activity
from mesh_stream.console.activity import Workers
from mesh_stream.freshness.reading import Reading
from mesh_stream.runtime.report import WorkerState
from mesh_stream.runtime.status import Status
from tests.console.showing import NOW, PRODUCT, reading

NAME, OUTPUT = PRODUCT.name, PRODUCT.output.topic
PAGE = """
mesh_worker_began_timestamp_seconds 1000
mesh_records_consumed_total{{topic="raw.orders"}} {read}
mesh_records_produced_total{{topic="{output}"}} {published}
mesh_rule_evaluations_total{{rule="r",outcome="kept"}} 9
mesh_rule_evaluations_total{{rule="r",outcome="broken"}} 1
"""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(at=0.0)
    monkeypatch.setattr(activity, "time", SimpleNamespace(monotonic=lambda: now.at))
    return now


def seen() -> dict[str, Reading]:
    at = int(NOW * 1000)
    said = Status(NAME, "1.0.0", 0, WorkerState.RUNNING, at, at, metrics="127.0.0.1:9400")
    found = reading()
    return {NAME: replace(found, seen=replace(found.seen, statuses={0: said}))}


def test_rates_are_what_was_counted_between_two_questions(clock: SimpleNamespace) -> None:
    counts = Counter(read=100, published=50)
    answers = iter([True, True, False])

    def answer(request: httpx.Request) -> httpx.Response:
        if not next(answers):
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(200, text=PAGE.format(output=OUTPUT, **counts))

    workers = Workers([PRODUCT], seen)
    with (
        httpx.Client(transport=httpx.MockTransport(answer)) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        assert workers.of(NAME).figures is None
        workers.ask(client, pool)
        assert workers.of(NAME).read is None
        clock.at, counts["read"], counts["published"] = 2.0, 140, 60
        workers.ask(client, pool)
        told = workers.of(NAME)
        assert (told.read, told.published) == (20.0, 5.0)
        assert told.figures is not None
        assert told.figures.score == pytest.approx(0.9)
        # A worker that is gone does nothing, and what it has counted stays.
        clock.at = 30.0
        workers.ask(client, pool)
        gone = workers.of(NAME)
        assert gone.figures is not None
        assert gone.figures.consumed.total() == 140
        assert gone.read == 0
