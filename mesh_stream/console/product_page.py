"""A product's own page: what it promises and publishes, and how it does."""

from __future__ import annotations

import time

from nicegui import run, ui

from mesh_stream.console.elements import Chip, Figure, Table, Text, block, mark, pairs
from mesh_stream.console.frame import framed
from mesh_stream.console.history import SAMPLE_SECONDS
from mesh_stream.console.letters import Redacted, recent
from mesh_stream.console.overview import budget, freshness_chart, redraw
from mesh_stream.console.shown import Shown
from mesh_stream.console.watch import Watch
from mesh_stream.console.words import (
    NONE,
    ago,
    fault,
    moment,
    promise,
    rate,
    rule,
    share,
    size,
    span,
    state,
)
from mesh_stream.errors import PlatformError
from mesh_stream.freshness.figures import Figures
from mesh_stream.product.product import Product
from mesh_stream.product.schema import in_words

_LETTERS_SECONDS = 10.0
_POSITIONS = 4


def product_page(watch: Watch, name: str) -> None:
    """Build the page for one browser; for a name that no product has, say so."""
    if name not in watch.products:
        with framed(watch, lambda: None, home=False):
            Text("h1", "No such product")
            Text("p", f"No product is called {name}.", "empty")
            with block("p"):
                mark(Text("a", "All products"), href="/")
        return
    page = _Page(watch, watch.products[name])
    with framed(watch, page.refresh, home=False):
        page.build()


class _Page:
    def __init__(self, watch: Watch, product: Product) -> None:
        self._watch, self._product, self._drawn = watch, product, 0.0

    def build(self) -> None:
        product, one = self._product, self._watch.of(self._product.name)
        with block("nav", aria_label="Way back"):
            mark(Text("a", "\N{LEFTWARDS ARROW} All products"), href="/")
        with block("div", "title"):
            Text("h1", product.name)
            with block("p", "verdict"):
                self._chip = Chip()
                self._fault = Text("span", "", "fault")
        Text("p", product.description or "No description.", "lead")
        with block("section", "panel", aria_labelledby="freshness"):
            _head("Freshness", "freshness")
            with block("div", "now"):
                with block("div", "line"):
                    self._chart = freshness_chart(self._watch, one)
                with block("dl", "figures"):
                    self._figures = {
                        name: Figure(name)
                        for name in (
                            "Newest fact", "Waiting", "Budget left", "Quality score", "Read / s",
                            "Published / s", "Unread", "Dead letters kept",
                        )
                    }  # fmt: skip
        with block("div", "two"):
            self._declared()
            self._promised(one)
        self._described()
        self._ruled()
        self._moved()
        self._worked()
        self._dead()

    def _declared(self) -> None:
        product = self._product
        with block("section", "panel", aria_labelledby="declaration"):
            _head("Declaration", "declaration")
            rows = [
                ("Owner", product.owner),
                ("Domain", product.domain),
                ("Version", product.version),
                ("Status", product.status),
                ("Documentation", product.documentation),
                ("Tags", ", ".join(product.tags)),
            ]
            rows += [(f"Support: {support.channel}", support.url) for support in product.support]
            pairs(rows)

    def _promised(self, one: Shown) -> None:
        objective = one.reading.objective
        with block("section", "panel", aria_labelledby="sla"):
            _head("What it promises", "sla")
            pairs(
                [
                    ("Freshness", promise(objective)),
                    ("Availability", f"{share(objective.availability)} of minutes are good"),
                    ("Each fact", f"is published within {span(objective.freshness)} of its event"),
                    ("Each minute", "its newest fact is that young, or nothing new has come"),
                ]
            )
            if self._product.state is not None:
                _head("What it remembers", "state")
                pairs(state(self._product.state))

    def _described(self) -> None:
        contract = self._product.contract
        docs = {
            field["name"]: str(field.get("doc", "")) for field in contract.schema.get("fields", ())
        }
        with block("section", "panel", aria_labelledby="schema"):
            _head("Schema", "schema")
            Text("p", f"{contract.name}, {contract.compatibility} compatible", "quiet")
            Table("Schema", ["Field", "Type", "Nullable", "Description"], "No fields.").say(
                [
                    (
                        name,
                        in_words(kind).removesuffix("?"),
                        "yes" if isinstance(kind, list) and "null" in kind else "no",
                        docs.get(name) or NONE,
                    )
                    for name, kind in contract.fields.items()
                ]
            )

    def _ruled(self) -> None:
        with block("section", "panel", aria_labelledby="rules"):
            _head("Quality rules", "rules")
            columns = ["Rule", "Checks that", "When broken", "Dimension", "#Broken so far"]
            self._rules = Table("Quality rules", columns, "No rule is declared.")
            _head("Rejects", "rejects")
            self._rejects = Table(
                "Rejects by fault", ["Fault", "Class", "#Records"], "Nothing was rejected."
            )

    def _moved(self) -> None:
        product = self._product
        ports = [
            ("Reads", port.product or port.topic, port.topic, port.format.value.upper())
            for port in product.inputs
        ]
        own = [("Keeps", "its own", topic, "internal") for topic in product.own_topics]
        with block("section", "panel", aria_labelledby="topics"):
            _head("Inputs and outputs", "topics")
            Table("Inputs and outputs", ["Way", "What", "Topic", "Format"], "").say(
                [
                    *ports,
                    ("Publishes", product.name, product.output.topic, "Avro"),
                    ("Rejects to", "dead letters", product.dead_letter_topic, "as they came"),
                    *own,
                ]
            )

    def _worked(self) -> None:
        with block("section", "panel", aria_labelledby="workers"):
            _head("Workers", "workers")
            columns = [
                "Slot", "State", "Version", "Last said", "Last turned", "Positions", "Watermarks",
            ]  # fmt: skip
            self._slots = Table("Workers", columns, "No worker has said anything yet.")

    def _dead(self) -> None:
        with block("section", "panel", aria_labelledby="letters"):
            _head("Recent dead letters", "letters")
            Text(
                "p",
                "Payloads are not shown: governance does not classify fields yet, so that nobody "
                "can say who may see them. Sizes and names of fields are what is left.",
                "quiet",
            )
            columns = [
                "Place", "Class", "Rule", "Reason", "From", "First seen", "#Key", "#Value",
                "Fields",
            ]  # fmt: skip
            self._letters = Table("Recent dead letters", columns, "None among the newest records.")
            self._letters_problem = Text("p", "", "fault")
        ui.timer(0.1, self._look_for_letters, once=True)
        ui.timer(_LETTERS_SECONDS, self._look_for_letters)

    async def _look_for_letters(self) -> None:
        # A new page would wait for the broker otherwise, and with it everybody who looks.
        topic, client = self._product.dead_letter_topic, ui.context.client
        problem, found = "", None
        try:
            found = await run.io_bound(recent, self._watch.settings, topic)
        except PlatformError as error:
            problem = str(error)
        # Meanwhile nobody may look any more.
        if client.is_deleted:
            return
        self._letters_problem.say(problem)
        if found is not None:
            self._letters.say([_letter(one) for one in found])

    def refresh(self) -> None:
        one = self._watch.of(self._product.name)
        reading, activity = one.reading, one.activity
        seen, figures = reading.seen, activity.figures
        self._chip.say(one.verdict.state)
        self._fault.say(seen.problem or fault(one.verdict))
        said = self._figures
        said["Newest fact"].say(
            "none yet" if reading.age is None else span(reading.age),
            f"of {promise(reading.objective)}",
        )
        said["Waiting"].say("nothing" if reading.waits is None else span(reading.waits))
        said["Budget left"].say(*budget(one.budget))
        judged = f"of {figures.judged:,} records" if figures and figures.judged else ""
        said["Quality score"].say(share(figures.score) if figures else NONE, judged)
        said["Read / s"].say(rate(activity.read))
        said["Published / s"].say(rate(activity.published))
        said["Unread"].say(f"{seen.unread:,}", "offsets")
        said["Dead letters kept"].say(f"{seen.dead_letters:,}", "offsets")
        self._rules.say(_rules(self._product, figures))
        rejected = figures.rejected.most_common() if figures else []
        self._rejects.say([(name, kind, f"{count:,}") for (kind, name), count in rejected])
        self._slots.say(_slots(one))
        now = time.monotonic()
        if now - self._drawn >= SAMPLE_SECONDS:
            self._drawn = now
            redraw(self._chart, self._watch, one)


def _head(text: str, identity: str) -> None:
    mark(Text("h2", text, "head"), id=identity)


def _rules(product: Product, figures: Figures | None) -> list[tuple[str, ...]]:
    return [
        (
            one.name,
            rule(one),
            {"dlq": "dead letter", "fail": "stops"}.get(one.action, one.action),
            one.dimension,
            f"{figures.broken[one.name]:,}" if figures else NONE,
        )
        for one in product.rules
    ]


def _slots(one: Shown) -> list[tuple[str, ...]]:
    now = one.reading.at
    return [
        (
            f"{slot}",
            status.state,
            status.version,
            ago(status.at / 1000, now),
            ago(status.progressed / 1000, now),
            _few({place: f"{offset:,}" for place, offset in status.positions.items()}),
            _few({at: moment(mark / 1000) for at, mark in status.watermarks.items()}),
        )
        for slot, status in sorted(one.reading.seen.statuses.items())
    ]


def _few(places: dict[str, str]) -> str:
    named = [f"{place} {what}" for place, what in sorted(places.items())]
    rest = len(named) - _POSITIONS
    return ", ".join(named[:_POSITIONS]) + (f" and {rest} more" if rest > 0 else "") or NONE


def _letter(one: Redacted) -> tuple[str, ...]:
    letter = one.letter
    return (
        letter.place,
        letter.fault_class or NONE,
        letter.rule or NONE,
        letter.reason or NONE,
        letter.origin if letter.topic else NONE,
        moment((letter.first_seen or 0) / 1000),
        size(one.key_bytes),
        size(one.value_bytes),
        ", ".join(one.fields) or NONE,
    )
