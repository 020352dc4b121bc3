"""What a running demo shows: a table on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mesh_stream.freshness.figures import Figures
from mesh_stream.local.arrivals import Ages
from mesh_stream.local.books import Account, Summary
from mesh_stream.product.product import Emit, Product

LINE_SECONDS = 5.0
_TOP_RULES = 5
# Of each product on a terminal, which has 24 lines for all of them.
_TOP_RULES_OF_SEVERAL = 3
_BALANCED = (
    "the books balance: in = sources of facts + filtered + rejected,\n"
    "and the workers' counters agree with what a read-committed consumer found"
)
_STATE_STYLES = {"running": "green", "starting": "yellow", "paused": "yellow"}


@dataclass(frozen=True, slots=True)
class Row:
    """One product at one moment.

    Attributes:
        product: The product.
        figures: What its workers say.
        recent: How old its facts were on arrival, lately.
        has_given_up: Whether its workers cannot run.
        restarts: How often its workers were restarted.
    """

    product: Product
    figures: Figures
    recent: Ages
    has_given_up: bool = False
    restarts: int = 0

    @property
    def state(self) -> str:
        """What its workers are doing, as one word or several."""
        if self.has_given_up:
            return "stopped, see the log"
        states = "+".join(sorted(self.figures.states))
        return f"{states}, {self.restarts} restarts" if self.restarts else states

    def newest(self, now: float) -> str:
        """The age of its newest fact."""
        newest = self.figures.newest_event
        return _age(max(0.0, now - newest)) if newest else "-"

    def runs(self) -> bool:
        """Whether all of its workers have their partitions and read."""
        return self.figures.states == {"running"}

    def facts(self) -> int:
        """Facts published."""
        return self.figures.produced[self.product.output.topic]


class Screen(Protocol):
    """Where rows are shown."""

    def show(self, rows: Mapping[str, Row], feed: str) -> None:
        """Show them now; `feed` says how far the feed is.

        Raises:
            BrokenPipeError: There is nobody left to show them to.
        """
        ...


@contextmanager
def live_screen(console: Console) -> Iterator[Screen]:
    """A table that is drawn anew on a terminal, else lines."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    # Drawn when told to: a thread that draws beside us would keep a core busy at high rates.
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield _Table(live)


class _Table:
    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, rows: Mapping[str, Row], feed: str) -> None:
        # A terminal that is gone need not send SIGHUP: that goes to who leads its session, and
        # `make` tells nobody. Rich writes nothing to what is no terminal, and so would not notice.
        if not self._live.console.is_terminal:
            raise BrokenPipeError("the terminal is gone")
        self._live.update(table(rows, feed, now=time.time()), refresh=True)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._due = 0.0

    def show(self, rows: Mapping[str, Row], feed: str) -> None:
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + LINE_SECONDS
        for row in rows.values():
            self._console.print(line(row, feed, now=time.time()), soft_wrap=True, highlight=False)


def table(rows: Mapping[str, Row], feed: str, *, now: float) -> Group:
    """All products, and what is rejected, as a table."""
    # No rules and no margins: a terminal of 80 columns has to hold a name and eight figures. Where
    # they grow beyond that, the names wrap, never the figures.
    grid = Table(
        title=feed,
        title_justify="left",
        title_style="dim",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    grid.add_column("product", overflow="fold")
    for name in ("in", "facts", "filtered", "rejected", "lag", "newest", "p50/p99"):
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("worker", no_wrap=True)
    rejected = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    shown = _TOP_RULES if len(rows) == 1 else _TOP_RULES_OF_SEVERAL
    for name, row in rows.items():
        figures = row.figures
        style = _STATE_STYLES.get(row.state, "red")
        grid.add_row(
            name,
            f"{figures.consumed.total():,}",
            f"{row.facts():,}",
            f"{figures.filtered.total():,}",
            f"{figures.rejected.total():,}",
            f"{figures.lag:,}",
            row.newest(now),
            _both(row.recent.quantile(0.5), row.recent.quantile(0.99)),
            Text(row.state, style=style),
        )
        for (fault_class, rule), count in figures.rejected.most_common(shown):
            rejected.add_row(Text(f"{count:,}", justify="right"), f"{fault_class}/{rule}", name)
    note = Text(
        "newest: age of the newest fact; p50/p99: age on arrival at a consumer", style="dim"
    )
    return Group(grid, "", rejected, "", note)


def line(row: Row, feed: str, *, now: float) -> str:
    """One product in one line."""
    figures = row.figures
    rules = ", ".join(f"{c}/{r} {n:,}" for (c, r), n in figures.rejected.most_common(_TOP_RULES))
    return (
        f"{row.product.name}: in {figures.consumed.total():,}, facts {row.facts():,}, "
        f"filtered {figures.filtered.total():,}, rejected {figures.rejected.total():,}"
        f"{f' ({rules})' if rules else ''}, lag {figures.lag:,}, newest {row.newest(now)}, "
        f"p50 {_millis(row.recent.quantile(0.5))}, p99 {_millis(row.recent.quantile(0.99))}, "
        f"{row.state}; {feed}"
    )


def report(summary: Summary) -> str:
    """The summary for people."""
    lines = []
    if summary.fed is not None:
        lines.append(f"fed {summary.fed.records:,} records onto {in_words(summary.fed.topics)}")
    for name, account in summary.accounts.items():
        lines += ["", name, *(f"  {text}" for text in _account_lines(account))]
    differences = summary.differences()
    if differences:
        lines += ["", "the books do not balance:", *(f"  {text}" for text in differences)]
    else:
        lines += ["", _BALANCED]
    return "\n".join(lines)


def _account_lines(account: Account) -> Iterator[str]:
    told, read = account.told, account.read
    objective = account.product.sla.freshness_seconds
    yield (
        f"in          {read.inputs:,} = {told.sources:,} sources of facts"
        f" + {told.filtered.total():,} filtered + {read.letters.total():,} rejected"
    )
    state = account.product.state
    if state is not None and state.repartitions:
        own = account.product.repartition_topic
        yield f"{'':<11} {told.consumed[own]:,} of them on {own}, its own"
    yield f"published   {read.facts:,} facts on {account.product.output.topic}"
    for title, counts in (
        ("filtered", told.filtered.most_common()),
        ("rejected", _named(read.letters)),
        ("windows", _named(read.windows)),
        ("tolerated", told.tolerated.most_common()),
    ):
        for position, (reason, count) in enumerate(counts):
            yield f"{title if position == 0 else '':<11} {count:,} {reason}"
    within = read.ages.share_within(objective * 1000)
    if within is None and state is not None and state.emit is Emit.ON_CLOSE:
        yield "fresh       no window was over, so nothing is known"
    elif within is None:
        yield "fresh       no fact, so nothing is known"
    else:
        yield f"fresh       {within:.2%} within {objective:,.0f} s of the event"
        yield (
            f"{'':<11} from event to consumer p50 {_millis(read.ages.quantile(0.5))}, "
            f"p99 {_millis(read.ages.quantile(0.99))}"
        )


def _named(letters: Counter[tuple[str, str]]) -> list[tuple[str, int]]:
    return [(f"{fault_class}/{rule}", n) for (fault_class, rule), n in letters.most_common()]


def in_words(names: Sequence[str], last: str = "and") -> str:
    """`a, b and c`."""
    return f" {last} ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _age(seconds: float) -> str:
    """A time in the unit that takes least room."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def _both(one: int | None, other: int | None) -> str:
    """Two times with their unit once: `41/88ms`."""
    if one is None or other is None:
        return "-"
    unit, divisor = (
        ("ms", 1) if other < 10_000 else ("s", 1_000) if other < 600_000 else ("m", 60_000)
    )
    return f"{one / divisor:,.0f}/{other / divisor:,.0f}{unit}"


def _millis(millis: int | None) -> str:
    if millis is None:
        return "-"
    return f"{millis} ms" if millis < 10_000 else f"{millis / 1000:,.0f} s"
