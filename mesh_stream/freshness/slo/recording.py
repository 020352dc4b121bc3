"""The recording rules of an SLO: series with Sloth's names and labels, and who was to blame.

Every ratio is one of sums, over whatever monitors and workers are scraped: two monitors that watch
the same product change nothing. Where nothing happened there is no ratio: 0/0 is no number, and one
in a month would make the month none (Sloth's own 30 days are an average of five-minute ratios,
which suffers that, and weighs a quiet night as much as a busy day).

https://sloth.dev/usage/getting-started/ has Sloth's names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from mesh_stream.freshness.slo.objectives import Slo, plain
from mesh_stream.freshness.slo.windows import (
    PERIOD,
    PERIOD_DAYS,
    SLOW,
    WINDOWS,
    duration,
    window,
)

ERROR = "slo:sli_error:ratio_rate"
"""The share of bad events, whoever is to blame: what the budget pays. A window's name follows."""
BLAMED = "mesh:sli_error:ratio_rate"
"""The same by `blame`. A name of its own: tools that know Sloth expect one series for a window."""
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
    windows = [*WINDOWS, PERIOD]
    yield {
        "name": f"sloth-slo-sli-recordings-{slo.id}",
        "rules": [
            rule for name in windows if name not in SLOW for rule in _ratios(slo, name, minute)
        ],
    }
    yield {
        "name": f"sloth-slo-sli-recordings-{slo.id}-slow",
        # Often enough to be there whenever it is asked for: Prometheus forgets after 5 minutes.
        "interval": duration(2, minute),
        "rules": [rule for name in windows if name in SLOW for rule in _ratios(slo, name, minute)],
    }
    yield {"name": f"sloth-slo-meta-recordings-{slo.id}", "rules": list(_meta(slo))}


def _ratios(slo: Slo, name: str, minute: float) -> Iterator[Rule]:
    length = window(name, minute)
    labels = {**slo.labels, "sloth_window": name}
    bad, all_ = slo.counted("bad_events"), slo.counted("events")
    yield {
        "record": f"{BLAMED}{name}",
        "expr": f"sum by (blame) (rate({bad}[{length}]))\n"
        f"/ on () group_left ()\n"
        f"(sum(rate({all_}[{length}])) > 0)",
        "labels": labels,
    }
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
