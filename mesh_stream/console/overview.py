"""The overview: every product, worst first, and how they hang together."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from urllib.parse import quote

from nicegui import ui

from mesh_stream.console import charts
from mesh_stream.console.elements import Chip, Figure, Text, block, mark
from mesh_stream.console.frame import framed
from mesh_stream.console.history import SAMPLE_SECONDS
from mesh_stream.console.shown import Budget, Shown, tally
from mesh_stream.console.watch import Watch
from mesh_stream.console.words import fault, full_name, promise, rate, share, span

_TOP_REJECTS = 3
_ROW_PIXELS = 62


def overview(watch: Watch) -> None:
    """Build the page for one browser."""
    page = _Overview(watch)
    with framed(watch, page.refresh, home=True):
        page.build()


class _Overview:
    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._cards: dict[str, _Card] = {}
        self._order: list[str] = []

    def build(self) -> None:
        shown = self._watch.shown()
        Text("h1", "Data products", "unseen")
        self._tally = block("div", "tally")
        mark(self._tally, role="status", aria_label="Products by state")
        self._counts: list[tuple[str, int]] | None = None
        if not shown:
            Text("p", "No product is declared; `mesh-stream init` makes one.", "empty")
            return
        self._lineage = _Lineage(shown)
        with block("section", aria_labelledby="products-head"):
            head = Text("h2", "Products", "head")
            mark(head, id="products-head")
            self._list = block("div", "cards")
            with self._list:
                for one in shown:
                    self._cards[one.name] = _Card(self._watch, one)
        self._order = [one.name for one in shown]

    def refresh(self) -> None:
        shown = self._watch.shown()
        counts = [(str(state), count) for state, count in tally(shown)]
        if counts != self._counts:
            self._counts = counts
            self._tally.clear()
            with self._tally:
                for state, count in tally(shown):
                    with block("span", "count"):
                        Text("span", f"{count}", "value")
                        Chip(state)
        if not shown:
            return
        self._lineage.refresh(shown)
        for one in shown:
            self._cards[one.name].refresh(one)
        order = [one.name for one in shown]
        if order != self._order:
            self._order = order
            for position, name in enumerate(order):
                self._cards[name].card.move(self._list, position)


class _Lineage:
    def __init__(self, shown: Sequence[Shown]) -> None:
        rows = max(
            list(charts.levels(shown).values()).count(level)
            for level in charts.levels(shown).values()
        )
        columns = 1 + max(charts.levels(shown).values())
        with block("section", "panel", aria_labelledby="lineage-head"):
            mark(Text("h2", "Lineage", "head"), id="lineage-head")
            with block("div", "scroll", tabindex="0", role="region", aria_label="Lineage, drawn"):
                self._options = charts.lineage(shown)
                self._chart = ui.echart(self._options, renderer="svg").classes("known")
                self._chart.style(
                    f"height: {rows * _ROW_PIXELS + 16}px; min-width: {columns * 226}px; "
                    f"max-width: {columns * 420}px"
                )
                mark(self._chart, role="img", aria_label="Lineage; the list after it says the same")
            self._words = block("ul", "unseen known")
            self._said: list[str] = []

    def refresh(self, shown: Sequence[Shown]) -> None:
        said = charts.in_words(shown)
        if said != self._said:
            self._said = said
            self._chart.options.update(charts.lineage(shown))
            self._chart.update()
            self._words.clear()
            with self._words:
                for sentence in said:
                    Text("li", sentence)


class _Card:
    """One product."""

    def __init__(self, watch: Watch, one: Shown) -> None:
        self._watch, self._drawn = watch, 0.0
        product, objective = one.product, one.reading.objective
        head = f"product-{product.name}"
        self.card = block("article", "card", aria_labelledby=head)
        with self.card:
            with block("div", "who"):
                with block("h3"):
                    mark(Text("a", product.name), href=f"/product/{quote(product.name)}", id=head)
                Text("p", f"{product.domain} \N{MIDDLE DOT} {product.owner}", "quiet")
                with block("p", "verdict"):
                    self._chip = Chip()
                    self._fault = Text("span", "", "fault")
                self._workers = Text("p", "", "quiet")
            with block("div", "line"):
                self._chart = freshness_chart(watch, one)
            with block("dl", "figures"):
                self._age = Figure("Newest fact")
                self._budget = Figure("Budget left")
                self._score = Figure("Quality score")
                self._read = Figure("Read / s")
                self._published = Figure("Published / s")
                self._rejects = Figure("Rejects by rule")
            self._promise = f"of {promise(objective)}"
            mark(self.card, data_product=full_name(product))

    def refresh(self, one: Shown) -> None:
        reading, activity = one.reading, one.activity
        self._chip.say(one.verdict.state)
        self._fault.say(one.reading.seen.problem or fault(one.verdict))
        mark(self.card, data_state=one.verdict.state)
        self._workers.say(workers(one))
        self._age.say("none yet" if reading.age is None else span(reading.age), self._promise)
        self._budget.say(*budget(one.budget))
        figures = activity.figures
        judged = f"of {figures.judged:,} records" if figures and figures.judged else ""
        self._score.say(share(figures.score) if figures else share(None), judged)
        self._read.say(rate(activity.read), f"{reading.seen.unread:,} unread")
        self._published.say(rate(activity.published))
        top = figures.rejected.most_common(_TOP_REJECTS) if figures else []
        rest = sum(figures.rejected.values()) - sum(n for _, n in top) if figures else 0
        named = [f"{count:,} {rule}" for (_, rule), count in top]
        self._rejects.say(
            f"{sum(figures.rejected.values()):,}" if figures else share(None),
            ", ".join([*named, *([f"{rest:,} others"] if rest else [])]),
        )
        now = time.monotonic()
        if now - self._drawn >= SAMPLE_SECONDS:
            self._drawn = now
            redraw(self._chart, self._watch, one)


def freshness_chart(watch: Watch, one: Shown) -> ui.echart:
    """The line of the last hour."""
    now, points = time.time(), watch.history.points(one.name, time.time())
    chart = ui.echart(
        charts.freshness(points, one.reading.objective.newest, now), renderer="svg"
    ).classes("freshness")
    mark(chart, role="img", aria_label=charts.summary(one, points))
    return chart


def redraw(chart: ui.echart, watch: Watch, one: Shown) -> None:
    """Bring the line up to date."""
    now = time.time()
    points = watch.history.points(one.name, now)
    chart.options.update(charts.freshness(points, one.reading.objective.newest, now))
    mark(chart, aria_label=charts.summary(one, points))
    chart.update()


def budget(left: Budget) -> tuple[str, str]:
    """What is left of a budget, and of what."""
    if left.left is not None and (left.left <= 0 or math.isnan(left.left)):
        return "used up", left.of
    return share(left.left), left.of


def workers(one: Shown) -> str:
    """What the workers said last that they do."""
    statuses = one.reading.seen.statuses
    if not statuses:
        return "no worker has said anything"
    states = [str(status.state) for status in statuses.values()]
    newest = max(status.at for status in statuses.values()) / 1000
    counted = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    noun = "worker" if len(states) == 1 else "workers"
    silent = one.activity.figures is not None and "gone" in one.activity.figures.states
    answers = "; does not answer" if silent else ""
    return f"{noun}: {counted}, said {span(max(0.0, one.reading.at - newest))} ago{answers}"
