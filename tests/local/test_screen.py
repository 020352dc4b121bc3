from __future__ import annotations

import io
import itertools
import os
import pty
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from mesh_stream.freshness.figures import Figures
from mesh_stream.local import screen
from mesh_stream.local.arrivals import Ages, Arrived
from mesh_stream.local.books import Account, Fed, Summary
from mesh_stream.local.screen import Row, in_words, line, live_screen, report, table
from mesh_stream.product.loader import load_mesh

MESH = load_mesh(Path(__file__).parents[2] / "products")
PRODUCT = MESH.products["orders-completed"]
REVENUE = MESH.products["revenue-hourly"]
NOW = 1_800_000_000.0
FIGURES = Figures(
    consumed=Counter({"raw.orders": 12_345}),
    produced=Counter({PRODUCT.output.topic: 4_000, PRODUCT.dead_letter_topic: 345}),
    sources=4_000,
    filtered=Counter({"not_completed": 8_000}),
    rejected=Counter({("payload", "malformed"): 300, ("contract", "schema"): 45}),
    lag=17,
    newest_event=NOW - 1.25,
    states=frozenset({"running"}),
)


def ages(*millis: int) -> Ages:
    found = Ages()
    for one in millis:
        found.add(one)
    return found


ROW = Row(PRODUCT, FIGURES, ages(41, 41, 88))


def drawn(row: Row, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(table({PRODUCT.name: row}, "00:10, 12,362 fed", now=NOW))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_line_tells_everything_of_a_product() -> None:
    assert line(ROW, "00:10, 12,362 fed", now=NOW) == (
        "orders-completed: in 12,345, facts 4,000, filtered 8,000, rejected 345 "
        "(payload/malformed 300, contract/schema 45), lag 17, newest 1.2 s, p50 41 ms, p99 88 ms, "
        "running; 00:10, 12,362 fed"
    )


def test_before_the_first_fact_nothing_is_made_up() -> None:
    row = Row(PRODUCT, Figures(states=frozenset({"starting"})), Ages())
    assert line(row, "00:00", now=NOW).endswith("newest -, p50 -, p99 -, starting; 00:00")


@pytest.mark.parametrize("width", [80, 100, 200])
def test_figures_are_never_cut_by_a_narrow_terminal(width: int) -> None:
    text = drawn(ROW, width)
    for figure in ("12,345", "4,000", "8,000", "345", "17", "1.2 s", "41/88ms", "running"):
        assert figure in text
    assert "payload/malformed" in text


def test_a_product_is_one_line_of_80_columns() -> None:
    long_since = replace(
        FIGURES,
        consumed=Counter({"raw.orders": 450_000}),
        produced=Counter({PRODUCT.output.topic: 130_000}),
        filtered=Counter({"not_completed": 310_000}),
        rejected=Counter({("payload", "malformed"): 10_000}),
    )
    lines = drawn(replace(ROW, figures=long_since, recent=ages(41, 288)), 80).splitlines()
    (shown,) = [one for one in lines if "450,000" in one]
    assert shown.split() == [
        PRODUCT.name, "450,000", "130,000", "310,000", "10,000", "17", "1.2", "s", "41/288ms",
        "running",
    ]  # fmt: skip


def test_a_product_that_cannot_run_says_where_to_look() -> None:
    assert replace(ROW, has_given_up=True).state == "stopped, see the log"
    assert replace(ROW, restarts=2).state == "running, 2 restarts"


def test_no_terminal_gets_a_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0.0, 1.0)
    monkeypatch.setattr(
        screen, "time", SimpleNamespace(monotonic=lambda: next(clock), time=lambda: NOW)
    )
    file = io.StringIO()
    with live_screen(Console(file=file, force_terminal=False, width=80)) as lines:
        for _ in range(11):
            lines.show({PRODUCT.name: ROW}, "fed")
    shown = file.getvalue().splitlines()
    assert len(shown) == 3
    assert all(one.startswith("orders-completed: in 12,345") for one in shown)


def test_a_terminal_gets_a_table_that_is_wiped_at_the_end() -> None:
    file = io.StringIO()
    with live_screen(Console(file=file, force_terminal=True, width=100)) as live:
        live.show({PRODUCT.name: ROW}, "fed")
    assert "12,345" in file.getvalue()
    assert file.getvalue().rstrip().endswith("\x1b[2K")


def test_a_terminal_that_is_gone_is_a_reason_to_end() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as file:
        console = Console(file=file, width=100)
        with live_screen(console) as live:
            live.show({PRODUCT.name: ROW}, "fed")
            os.close(ours)
            with pytest.raises(BrokenPipeError, match="the terminal is gone"):
                live.show({PRODUCT.name: ROW}, "fed")


def summary(*problems: str) -> Summary:
    read = Arrived(inputs=12_345, facts=4_000, letters=FIGURES.rejected, ages=ages(41, 41, 88))
    return Summary(
        {PRODUCT.name: Account(PRODUCT, FIGURES, read)},
        Fed(("raw.orders", "raw.users"), 12_345),
        12_345,
        problems,
    )


def test_the_report_says_what_was_published_rejected_and_how_fresh() -> None:
    text = report(summary())
    for part in (
        "fed 12,345 records onto raw.orders and raw.users",
        "in          12,345 = 4,000 sources of facts + 8,000 filtered + 345 rejected",
        "published   4,000 facts on orders.orders-completed.v1",
        "filtered    8,000 not_completed",
        "rejected    300 payload/malformed\n              45 contract/schema",
        "fresh       100.00% within 900 s of the event\n",
        "from event to consumer p50 41 ms, p99 88 ms",
        "the books balance",
    ):
        assert part in text


def test_the_report_says_where_the_books_do_not_balance() -> None:
    text = report(summary("nothing moves any more"))
    assert "the books do not balance:\n  nothing moves any more" in text
    assert "the books balance" not in text


def test_without_facts_nothing_is_called_fresh() -> None:
    quiet = Account(PRODUCT, Figures(), Arrived())
    assert "no fact, so nothing is known" in report(Summary({"p": quiet}, None, 0, ()))


def test_a_window_that_is_not_over_is_no_fault() -> None:
    quiet = Account(REVENUE, Figures(), Arrived())
    assert "no window was over, so nothing is known" in report(Summary({"p": quiet}, None, 0, ()))


def test_what_a_product_reads_of_its_own_topic_is_told() -> None:
    own = REVENUE.repartition_topic
    told = Figures(
        consumed=Counter({REVENUE.inputs[0].topic: 10, own: 14}),
        sources=20,
        filtered=Counter({"watermark": 4}),
        tolerated=Counter({"usual": 7}),
    )
    read = Arrived(inputs=24, windows=Counter({("contract", "revenue_between"): 1}))
    text = report(Summary({"p": Account(REVENUE, told, read)}, None, 0, ()))
    for part in (
        "in          24 = 20 sources of facts + 4 filtered + 0 rejected\n",
        "              14 of them on mesh.revenue-hourly.repartition, its own\n",
        "windows     1 contract/revenue_between",
        "tolerated   7 usual",
    ):
        assert part in text


def test_all_products_of_the_demo_fit_on_80_columns_and_24_lines() -> None:
    rejected = Counter({("contract", f"rule_number_{n}"): 10_000 + n for n in range(8)})
    busy = replace(FIGURES, consumed=Counter({"raw.orders": 450_000}), rejected=rejected)
    rows = {
        name: Row(
            made,
            replace(busy, produced=Counter({made.output.topic: 130_000})),
            ages(*([7_200_000, 9_000_000] if made is REVENUE else [41, 288])),
        )
        for name, made in MESH.products.items()
    }
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    console.print(table(rows, "00:10, 12,362 fed", now=NOW + 4_000))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert len(lines) <= 24
    shown = [one.split() for one in lines if "450,000" in one]
    assert [words[0] for words in shown] == list(rows)
    assert {words[-1] for words in shown} == {"running"}
    assert "120/150m" in console.file.getvalue()
    assert sum("rule_number" in one for one in lines) == 3 * len(rows)


@pytest.mark.parametrize(
    ("ago", "said"),
    [(0.04, "0.0 s"), (119.9, "119.9 s"), (120, "2.0 m"), (7_200, "2.0 h"), (864_000, "10.0 d")],
)
def test_an_age_is_told_in_the_unit_that_takes_least_room(ago: float, said: str) -> None:
    row = replace(ROW, figures=replace(FIGURES, newest_event=NOW - ago))
    assert row.newest(NOW) == said


@pytest.mark.parametrize(
    ("names", "said"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_names_are_told_in_words(names: list[str], said: str) -> None:
    assert in_words(names) == said
