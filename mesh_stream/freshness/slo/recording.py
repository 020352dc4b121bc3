"""The recording rules of an SLO: series with Sloth's names and labels, and who was to blame.

Facts are summed over the workers, for each is one worker's; of minutes the average over monitors is
taken, for each is every monitor's: a second one that watches changes nothing. Where nothing
happened nothing was bad: 0/0 is no number, and one in a month would make the month none.

Sloth's own ratio of 30 days averages those of five minutes: it weighs a quiet night as much as a
busy day. Here events are counted every other minute, and the counts are summed: exact, and cheap,
where a rate over all samples of 30 days is neither when monitors come and go.

https://sloth.dev/usage/getting-started/ has Sloth's names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from mesh_stream.freshness.slo.objectives import RECORDS, Slo, plain
from mesh_stream.freshness.slo.windows import (
    PERIOD,
    PERIOD_DAYS,
    SLOW,
    SLOW_MINUTES,
    WINDOWS,
    duration,
    window,
)

ERROR = "slo:sli_error:ratio_rate"
"""The share of bad events, whoever is to blame: what the budget pays. A window's name follows."""
BLAMED = "mesh:sli_error:ratio_rate"
"""The same by `blame`. A name of its own: tools that know Sloth expect one series for a window."""
COUNT, BAD_COUNT = "mesh:slo_events:increase4m", "mesh:slo_bad_events:increase4m"
REMAINING = "slo:period_error_budget_remaining:ratio"
LEAST_BUDGET = Decimal("0.000000001")
"""Who promises 100% has no budget: one bad event uses it up many times over, none does not."""

Rule = dict[str, Any]


def recording_groups(slo: Slo, minute: float) -> Iterator[Rule]:
    """The groups that record an SLO.

    Args:
        slo: The SLO.
        minute: How many seconds a minute lasts.
    """
    quick = [name for name in WINDOWS if name not in SLOW]
    slow = [name for name in WINDOWS if name in SLOW]
    yield {
        "name": f"sloth-slo-sli-recordings-{slo.id}",
        "rules": [rule for name in quick for rule in _ratios(slo, name, minute)],
    }
    yield {
        "name": f"sloth-slo-sli-recordings-{slo.id}-slow",
        # Often enough to be there whenever it is asked for: Prometheus forgets after 5 minutes.
        "interval": duration(SLOW_MINUTES, minute),
        "rules": [
            *(rule for name in slow for rule in _ratios(slo, name, minute)),
            *_counts(slo, minute),
            *_pair(slo, PERIOD, _ratio_of_counts(slo, minute)),
        ],
    }
    yield {"name": f"sloth-slo-meta-recordings-{slo.id}", "rules": list(_meta(slo))}


def _over(slo: Slo) -> str:
    """How what several say of the same product comes together."""
    return "sum" if slo.name == RECORDS else "avg"


def _ratios(slo: Slo, name: str, minute: float) -> Iterator[Rule]:
    bad = f"rate({slo.counted('bad_events')}[{window(name, minute)}])"
    all_ = f"rate({slo.counted('events')}[{window(name, minute)}])"
    over = _over(slo)
    yield from _pair(slo, name, _share(f"{over} by (blame) ({bad})", f"{over}({all_})"))


def _counts(slo: Slo, minute: float) -> Iterator[Rule]:
    # Twice as long as they are apart: every event is in two of them, and in one if one is missed.
    length = duration(2 * SLOW_MINUTES, minute)
    for name, which, by in ((BAD_COUNT, "bad_events", " by (blame) "), (COUNT, "events", "")):
        counted = f"increase({slo.counted(which)}[{length}])"
        expression = f"{_over(slo)}{by}({counted})"
        yield {"record": name, "expr": expression, "labels": dict(slo.labels)}


def _ratio_of_counts(slo: Slo, minute: float) -> str:
    length = window(PERIOD, minute)
    return _share(
        f"sum by (blame) (sum_over_time({slo.recorded(BAD_COUNT)}[{length}]))",
        f"sum(sum_over_time({slo.recorded(COUNT)}[{length}]))",
    )


def _share(bad: str, all_: str) -> str:
    """By blame. Of no events none were bad; where nobody counts them there is no share at all."""
    return f"{bad}\n/ on () group_left ()\n({all_} > 0)\nor\n{bad}"


def _pair(slo: Slo, name: str, expression: str) -> Iterator[Rule]:
    """A window's share of bad events by blame, and in all."""
    labels = {**slo.labels, "sloth_window": name}
    yield {"record": f"{BLAMED}{name}", "expr": expression, "labels": labels}
    yield {
        "record": f"{ERROR}{name}",
        "expr": f"sum({slo.recorded(f'{BLAMED}{name}')})",
        "labels": labels,
    }


def _meta(slo: Slo) -> Iterator[Rule]:
    budget = plain(max(slo.budget, LEAST_BUDGET))
    for name, expression in (
        ("slo:objective:ratio", f"vector({plain(slo.objective)})"),
        ("slo:error_budget:ratio", f"vector({plain(slo.budget)})"),
        ("slo:time_period:days", f"vector({PERIOD_DAYS})"),
        ("slo:current_burn_rate:ratio", f"{slo.recorded(f'{ERROR}5m')} / {budget}"),
        ("slo:period_burn_rate:ratio", f"{slo.recorded(f'{ERROR}{PERIOD}')} / {budget}"),
        (REMAINING, f"1 - {slo.recorded('slo:period_burn_rate:ratio')}"),
    ):
        yield {"record": name, "expr": expression, "labels": dict(slo.labels)}
    yield {"record": "sloth_slo_info", "expr": "vector(1)", "labels": info(slo)}


def info(slo: Slo) -> Mapping[str, str]:
    """The labels of an SLO's `sloth_slo_info`."""
    return {
        **slo.labels,
        "sloth_mode": "cli-gen-prom",
        "sloth_objective": plain(slo.objective * 100),
        "sloth_spec": "mesh-stream/v1",
        "sloth_version": "mesh-stream",
    }
