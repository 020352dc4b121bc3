"""What the dashboards ask for, in PromQL.

Every figure is the greatest that any monitor or worker says, or a sum over workers: two monitors
that watch the same mesh show it once.
"""

from __future__ import annotations

from collections.abc import Mapping

from mesh_stream.freshness.sli import Blame, State
from mesh_stream.freshness.slo.alerting import MONITOR_JOB, WORKERS_JOB
from mesh_stream.freshness.slo.objectives import matchers
from mesh_stream.freshness.slo.panels import GREEN, GREY, RED, YELLOW, Words
from mesh_stream.runtime.report import WorkerState

PER_PRODUCT = "product, domain"
STATES: Words = {
    0: (State.FRESH.value, GREEN),
    1: (State.IDLE.value, GREEN),
    2: (State.STALE.value, RED),
    3: (State.UNKNOWN.value, YELLOW),
}
BLAMES: Words = {
    0: ("-", GREY),
    1: (Blame.OWN.value, RED),
    2: (Blame.UPSTREAM.value, YELLOW),
    3: (Blame.UNSEEN.value, YELLOW),
}
RUNNING, STOPPED, SILENT = WorkerState.RUNNING.value, "stopped", "silent"
WORKER_STATES: Words = {
    number: (state, {RUNNING: GREEN, SILENT: RED}.get(state, YELLOW))
    for number, state in enumerate(dict.fromkeys([*map(str, WorkerState), STOPPED, SILENT]))
}
SILENT_SECONDS = 30
"""A worker says every few seconds what it is doing; what it said longer ago may be a dead one's."""


def within(labels: Mapping[str, str], **more: str) -> str:
    """The selector's braces for these labels; none where there are none."""
    wanted = {**labels, **more}
    return f"{{{matchers(wanted)}}}" if wanted else ""


def greatest(metric: str, **labels: str) -> str:
    """A product's figure, whoever says it."""
    return f"max by ({PER_PRODUCT}) ({metric}{within(labels)})"


def age(me: Mapping[str, str]) -> str:
    """How old a product's newest fact is, in seconds."""
    newest = greatest("mesh_output_last_event_timestamp_seconds", job=MONITOR_JOB, **me)
    return f"time() - ({newest} > 0)"


def oldest_allowed(me: Mapping[str, str]) -> str:
    """How old it may be: the objective, and what may lie between two facts besides."""
    seen = {"job": MONITOR_JOB, **me}
    return (
        f"max by ({PER_PRODUCT}) (mesh_freshness_objective_seconds{within(seen)} "
        f"+ mesh_freshness_cadence_seconds{within(seen)})"
    )


def waiting(me: Mapping[str, str]) -> str:
    """How long ago the record happened that waits and is due first; 0 where none waits."""
    since = greatest("mesh_waiting_event_timestamp_seconds", **me)
    return f"(time() - {since}) * ({since} > bool 0)"


def _numbers(metric: str, label: str, words: Words, me: Mapping[str, str]) -> str:
    """The number of what something is: of the series by `label`, one is 1 and the others are 0."""
    return " or ".join(
        f"{metric}{within(me, **{label: word})} * {number}" for number, (word, _) in words.items()
    )


def state(me: Mapping[str, str]) -> str:
    """The number of a product's state."""
    return f"max by ({PER_PRODUCT}) ({_numbers('mesh_freshness_state', 'state', STATES, me)})"


def blame(me: Mapping[str, str]) -> str:
    """The number of whose it is that a product is not good."""
    blamed = {number: word for number, word in BLAMES.items() if number}
    return f"max by ({PER_PRODUCT}) ({_numbers('mesh_freshness_blame', 'blame', blamed, me)})"


def worker_states(me: Mapping[str, str]) -> str:
    """What each slot said last; where that is long ago it is silent, unless it had stopped."""
    *said, (silent, _) = WORKER_STATES.items()
    states = _numbers("mesh_worker_reported_state", "state", dict(said), me)
    stopped = f"mesh_worker_reported_state{within(me, state=STOPPED)} == 1"
    return (
        f"max by ({PER_PRODUCT}, slot) (\n  {states}\n"
        f"  or ({_unheard(me)} > bool {SILENT_SECONDS}) * {silent}\n"
        f"  unless on (product, slot, instance) ({stopped})\n)"
    )


def workers_running() -> str:
    """How many slots of a product run."""
    running = f"mesh_worker_reported_state{within({}, state=RUNNING)} == 1"
    heard = f"{_unheard({})} < {SILENT_SECONDS}"
    none = f"0 * {greatest('mesh_freshness_objective_seconds', job=MONITOR_JOB)}"
    slots = f"max by ({PER_PRODUCT}, slot) ({running} and on (product, slot, instance) ({heard}))"
    return f"count by ({PER_PRODUCT}) ({slots})\nor {none}"


def _unheard(me: Mapping[str, str]) -> str:
    return f"time() - mesh_worker_last_status_timestamp_seconds{within(me)}"


def rate(metric: str, labels: Mapping[str, str], by: str) -> str:
    """How fast a counter grows, by some of its labels."""
    return f"sum by ({by}) (rate({metric}{within(labels)}[$__rate_interval]))"


def rejects(me: Mapping[str, str], by: str) -> str:
    """Input records that become dead letters, a second."""
    return rate("mesh_records_rejected_total", {"job": WORKERS_JOB, **me}, by)


def quantile_of(quantile: float, metric: str, me: Mapping[str, str]) -> str:
    """A quantile of a histogram, of the last few scrapes."""
    buckets = f"rate({metric}_bucket{within(me)}[$__rate_interval])"
    return f"histogram_quantile({quantile:g}, sum by (le) ({buckets}))"
