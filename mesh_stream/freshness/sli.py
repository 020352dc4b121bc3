"""The two indicators of freshness, defined here and nowhere else.

**Per record**: from a fact's event time to the commit that published it; good if within the
objective. It is split where the input record arrived on its topic: what came before is *upstream
age*, what came after is *own residence*. A record that was late when it arrived is upstream's.

**Per minute**: whether the output is up to date, seen from outside. A minute is good if it is

    fresh    the newest fact is as young as promised, and nothing that has arrived waits longer
    idle     it is older, but what arrived was answered in time, and nothing has come since

and bad if it is `stale`, or `unknown`: nobody could look. Availability is the share of good
minutes. Ages are measured between moments that somebody wrote down, never guessed from offsets.

The pair follows Google's advice for data processing (SRE Workbook, chapter 13, "Data Processing
Pipelines": freshness by record and by time); the second sees silence, which the first cannot.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from mesh_stream.product.product import Emit, Hopping, Product, Session


class State(enum.StrEnum):
    """What a product's output is at one moment."""

    FRESH = "fresh"
    """The newest fact is within the objective."""
    IDLE = "idle"
    """It is not, for nothing has come that asks for another."""
    STALE = "stale"
    """It is not, and should be."""
    UNKNOWN = "unknown"
    """Nobody could look."""


GOOD = frozenset({State.FRESH, State.IDLE})
"""The states of a good minute."""


class Blame(enum.StrEnum):
    """Whose a bad record or minute is."""

    OWN = "own"
    """The product's: it had what it needed in time."""
    UPSTREAM = "upstream"
    """Its inputs': what came was late already."""
    UNSEEN = "unseen"
    """Nobody could look."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What a product promises.

    Attributes:
        freshness: Seconds from event time to commit.
        cadence: Seconds that lie between two facts when all is well, beyond which the age of the
            newest is counted; 0 where each event makes a fact; infinite where nothing says.
        availability: Share of good minutes, of 1.
    """

    freshness: float
    cadence: float
    availability: float

    @property
    def newest(self) -> float:
        """How old the newest fact may be, in seconds."""
        return self.freshness + self.cadence


def objective_of(product: Product) -> Objective:
    """What a product promises, and how often it can speak at all.

    A product that publishes a window when it is over has nothing to say until the next is: of
    hourly windows the newest fact is up to an hour old before another is due. When a session is
    over is for its events to say, and nobody can promise it: there only what waits can be overdue.
    """
    state, cadence = product.state, 0.0
    if state is not None and state.emit is Emit.ON_CLOSE:
        if isinstance(state.window, Hopping):
            cadence = state.window.advance / 1000
        elif isinstance(state.window, Session):
            cadence = math.inf
    return Objective(product.sla.freshness_seconds, cadence, product.sla.availability)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An input record that is not accounted for. Moments in seconds since the epoch.

    Attributes:
        arrived: When it arrived on its topic.
        event_time: When it happened; not after it arrived.
    """

    arrived: float
    event_time: float

    def due(self, freshness: float) -> float:
        """When it is the product's own fault that it still waits.

        What was late when it arrived may lie here for as long again, and no longer.
        """
        is_late = self.arrived - self.event_time > freshness
        return (self.arrived if is_late else self.event_time) + freshness


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen of a product from outside. Moments in seconds since the epoch.

    No moment lies after the one it was seen at: a clock that runs ahead must not make a product
    fresh for ever.

    Attributes:
        seen_at: When all of this was seen; 0: never.
        newest_fact: Event time of the newest fact; None: there is none.
        newest_input: Newest event time of the input records that were processed; None: there are
            none, or it cannot be told.
        last_asked: When the last input record arrived that was processed and not filtered; None:
            none has.
        asked_since: When the first of those arrived that were seen to come after the newest fact.
            Whoever has just begun to look may have missed earlier ones.
        waiting: Of the input records that are not accounted for, the one that is due first; None:
            all are.
    """

    seen_at: float = 0.0
    newest_fact: float | None = None
    newest_input: float | None = None
    last_asked: float | None = None
    asked_since: float | None = None
    waiting: Waiting | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a product is, and whose that is where it is bad; None where it is good."""

    state: State
    blame: Blame | None = None

    @property
    def is_good(self) -> bool:
        """Whether a minute that ends now is a good one."""
        return self.state in GOOD


FRESH, IDLE = Verdict(State.FRESH), Verdict(State.IDLE)
OWN, UPSTREAM = Verdict(State.STALE, Blame.OWN), Verdict(State.STALE, Blame.UPSTREAM)
UNKNOWN = Verdict(State.UNKNOWN, Blame.UNSEEN)


def judge(seen: Evidence, objective: Objective, *, now: float, believed_for: float) -> Verdict:
    """What a product's output is now, by what was seen of it.

    Args:
        seen: What was seen.
        objective: What is promised.
        now: Seconds since the epoch.
        believed_for: Seconds after which what was seen says nothing any more.
    """
    if now - seen.seen_at > believed_for:
        return UNKNOWN
    waiting, asked = seen.waiting, seen.last_asked
    # Whatever the newest fact says: one partition of several may stand still.
    if waiting is not None and now > waiting.due(objective.freshness):
        return OWN
    if _is_within(seen.newest_fact, now, objective.newest):
        return FRESH
    if waiting is not None and now - waiting.event_time > objective.freshness:
        return UPSTREAM
    if not _is_within(asked, now, objective.newest):
        # Something may just have arrived after a silence: it is not overdue.
        return IDLE
    if asked is None or _is_within(seen.newest_fact, asked, objective.newest):
        # The newest fact was young enough when a fact was last asked for: silence made it old.
        return IDLE
    if objective.cadence and _is_within(seen.asked_since, now, objective.newest):
        # After a silence, the window that the first event opened is not over.
        return IDLE
    if seen.newest_input is None or asked - seen.newest_input <= objective.freshness:
        return OWN
    return UPSTREAM


def _is_within(moment: float | None, now: float, seconds: float) -> bool:
    return moment is not None and now - moment <= seconds


def blame_record(
    event_time: float, arrived: float, committed: float, freshness: float
) -> Blame | None:
    """Whose it is that a fact came late; None where it came in time.

    Args:
        event_time: When it happened.
        arrived: When its input record arrived.
        committed: When it was published.
        freshness: The objective; in the unit of the three moments.
    """
    if committed - event_time <= freshness:
        return None
    return Blame.UPSTREAM if arrived - event_time > freshness else Blame.OWN
