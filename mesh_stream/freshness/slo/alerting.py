"""The alerts: who is told what, when, and where it says what to do.

A page is for what is the product's own doing, or for nobody watching. What came late is told to the
product's owner without a page. Nothing here asks for the absence of a series: what is down says so
by its `up`, and what has not happened yet is counted as 0 from the start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mesh_stream.freshness.slo.objectives import LEAST_LATE, MINUTES, RECORDS, Slo, percent, plain
from mesh_stream.freshness.slo.recording import BLAMED, REMAINING
from mesh_stream.freshness.slo.windows import SEVERITIES, Burn, duration, window
from mesh_stream.product.product import Product

BURN = "MeshFreshnessBudgetBurn"
UPSTREAM, UPSTREAM_SEVERITY = "MeshUpstreamLate", "notice"
BLIND = "MeshMonitorBlind"
BOOKS = "MeshBooksDoNotBalance"
ALERTS = (BURN, UPSTREAM, BLIND, BOOKS)

MONITOR_JOB, WORKERS_JOB = "mesh-monitor", "mesh-workers"
SEEN = f'mesh_seen_timestamp_seconds{{job="{MONITOR_JOB}"'
"""Its selector, still open for more."""
BLIND_MINUTES = 5
"""What the monitor saw longer ago than this says nothing any more."""
SETTLED_MINUTES = 2
"""How long something has to be so before it is told. A monitor that was just started has seen
nothing yet; and a worker's figures are read while it goes on counting."""
PLATFORM = "platform"
"""Who answers for the monitor: no domain does."""

Rule = dict[str, Any]

# Templates: what Prometheus fills in when an alert fires.
SHARE = "{{ $value | humanizePercentage }}"
AGO = "{{ if gt $value 1e9 }}never{{ else }}{{ $value | humanizeDuration }} ago{{ end }}"
MONITORS = (
    "{{ with query `" + f'count(up{{job="{MONITOR_JOB}"}})' + "` }}{{ . | first | value }}{{ end }}"
)


def budget_left(slo: Slo) -> str:
    """The template of the percentage that is left of an SLO's error budget."""
    asked = f"100 * {slo.recorded(REMAINING)}"
    return "{{ with query `" + asked + '` }}{{ . | first | value | printf "%.0f" }}{{ end }}'


def runbook(alert: str) -> str:
    """Where it says what to do: a heading of the README."""
    return f"README.md#{alert.lower()}"


def burn_alerts(slo: Slo, minute: float) -> Iterator[Rule]:
    """What an SLO alerts on: its own share by severity, its inputs' as a notice."""
    what = "minutes" if slo.name != RECORDS else "facts"
    allowed = f"{percent(slo.budget)} of them may be, over 30 days"
    left = f"{budget_left(slo)}% of the error budget is left."
    for severity in SEVERITIES:
        burns = [burn for burn in slo.burns if burn.severity == severity]
        if burns:
            yield _alert(
                BURN,
                _burning(slo, burns, "own", minute),
                labels={"severity": severity, "slo": slo.name, "sloth_severity": severity},
                summary="{{ $labels.product }} is late by its own doing: its error budget of "
                f"{slo.name} burns too fast",
                description=f"{SHARE} of the {what} of {{{{ $labels.product }}}} were bad lately, "
                f"though their inputs had come in time; {allowed}. {left}",
            )
    if slo.burns:
        yield _alert(
            UPSTREAM,
            _burning(slo, slo.burns, "upstream", minute),
            labels={"severity": UPSTREAM_SEVERITY, "slo": slo.name},
            summary="{{ $labels.product }} is late because its inputs are",
            description=f"{SHARE} of the {what} of {{{{ $labels.product }}}} were bad lately, "
            f"because what they are made of had come late already; {allowed}. {left}",
        )


def _burning(slo: Slo, burns: Iterable[Burn], blame: str, minute: float) -> str:
    return "\nor\n".join(_at_rate(slo, burn, blame, minute) for burn in burns)


def _at_rate(slo: Slo, burn: Burn, blame: str, minute: float) -> str:
    most = f"{float(burn.factor):g} * {plain(slo.budget)}"

    def share(name: str) -> str:
        # Without the window, which is not the same in both, nor for as long as it burns.
        series = slo.recorded(f"{BLAMED}{name}", blame=blame)
        return f"max without (sloth_window) ({series} > ({most}))"

    parts = [share(burn.short), "and", share(burn.long)]
    if slo.name == RECORDS:
        bad = slo.counted("bad_events", blame=blame)
        few = f"sum(increase({bad}[{window(burn.long, minute)}])) >= {LEAST_LATE}"
        parts.append(f"and on ()\n  ({few})")
    return "(\n" + "\n".join(f"  {part}" for part in parts) + "\n)"


def product_alerts(product: Product, minute: float) -> Iterator[Rule]:
    """What a product alerts on besides its error budgets."""
    declared = f'sloth_slo_info{{sloth_id="{product.name}-{MINUTES}"}}'
    owner = f"* on () group_left (owner) {declared}"
    seen = f'{SEEN},product="{product.name}"}}'
    blind = f"{BLIND_MINUTES * minute:g}"
    yield _alert(
        BLIND,
        f"(\n  (time() - max by (domain, product) ({seen}) > {blind})\n  {owner}\n"
        f"  unless on () (time() - max({SEEN}}}) > {blind})\n)\n"
        # One that it does not know at all: declared after it was started, or to be read elsewhere.
        f"or\n(\n  max by (domain, owner, product) ({declared} * Inf)\n"
        f"  unless on () {seen}\n"
        f'  and on () (max(up{{job="{MONITOR_JOB}"}}) == 1)\n)',
        labels={"severity": "ticket", "reason": "product"},
        lasting=duration(SETTLED_MINUTES, minute),
        summary="The monitor does not see {{ $labels.product }}",
        description="{{ $labels.product }} was last seen: "
        f"{AGO}. Other products are. Until it is, nobody can say that it keeps its promise.",
    )
    imbalance = (
        f'mesh_conservation_imbalance_records{{job="{WORKERS_JOB}",product="{product.name}"}}'
    )
    yield _alert(
        BOOKS,
        f"(max by (domain, product, slot) (abs({imbalance})) > 0)\n{owner}",
        labels={"severity": "ticket"},
        lasting=duration(SETTLED_MINUTES, minute),
        summary="{{ $labels.product }} cannot account for every record that it read",
        description="Slot {{ $labels.slot }} of {{ $labels.product }} read {{ $value }} records "
        "that are neither a fact's source, filtered nor rejected, or counted some twice.",
    )


def monitor_alerts(minute: float) -> Iterator[Rule]:
    """What the mesh alerts on as a whole: that nobody watches it."""
    lasting = duration(SETTLED_MINUTES, minute)
    yield _alert(
        BLIND,
        f'max(up{{job="{MONITOR_JOB}"}}) == 0',
        labels={"severity": "page", "reason": "down", "owner": PLATFORM},
        lasting=lasting,
        summary="No monitor of the mesh answers",
        description=f"Of {MONITORS} monitors, {{{{ $value }}}} answer. Whether any product is "
        "fresh is not known.",
    )
    yield _alert(
        BLIND,
        f"time() - max({SEEN}}}) > {BLIND_MINUTES * minute:g}",
        labels={"severity": "page", "reason": "blind", "owner": PLATFORM},
        lasting=lasting,
        summary="The monitor of the mesh sees nothing",
        description=f"Anything was last seen: {AGO}. Whether any product is fresh is not known.",
    )


def _alert(
    name: str,
    expression: str,
    *,
    labels: Mapping[str, str],
    summary: str,
    description: str,
    lasting: str = "",
) -> Rule:
    rule: Rule = {"alert": name, "expr": expression}
    if lasting:
        rule["for"] = lasting
    rule["labels"] = dict(labels)
    rule["annotations"] = {
        "summary": summary,
        "description": description,
        "runbook": runbook(name),
    }
    return rule
