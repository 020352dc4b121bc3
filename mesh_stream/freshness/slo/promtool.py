"""Unit tests of the rules, for promtool: of each alert what fires it, and what must not.

They travel with the rules, so that who changes one by hand, or runs another Prometheus, sees
whether it still says what it is meant to: `promtool test rules tests/*.yml`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from mesh_stream.freshness.slo.alerting import (
    AGO,
    ALERTS,
    BLIND,
    BOOKS,
    BURN,
    MONITOR_JOB,
    MONITORS,
    SHARE,
    UPSTREAM,
    UPSTREAM_SEVERITY,
    WORKERS_JOB,
    budget_left,
    burn_alerts,
    monitor_alerts,
    product_alerts,
)
from mesh_stream.freshness.slo.objectives import (
    LEAST_LATE,
    MINUTES,
    Slo,
    matchers,
    slos_of,
)
from mesh_stream.freshness.slo.recording import ERROR, LEAST_BUDGET, REMAINING
from mesh_stream.freshness.slo.windows import duration
from mesh_stream.product.product import Product

LONG = 20
"""Minutes that each test lasts."""
RATES = (Fraction("0.9"), Fraction("1.1"), Fraction("6.6"))
"""How many times as fast as is allowed: too slow for anybody, a ticket's, a page's."""
MANY = 10**12
"""Events of a minute, so that any share of them can be told."""
BLAMES = ("own", "upstream", "unseen")

Part = dict[str, Any]
Series = tuple[str, Mapping[str, str], str]
"""A metric's name, its labels, and its values as promtool writes them."""


def product_tests(product: Product, minute: float) -> Part:
    """The tests beside a product's rules.

    Args:
        product: The product.
        minute: How many seconds a minute lasts.
    """
    minutes, records = slos_of(product)
    return {
        "rule_files": [f"../rules/{product.domain}.{product.name}.yml"],
        "evaluation_interval": duration(1, minute),
        "tests": [
            _nothing_is_wrong(product, minute),
            _late_by_its_own_doing(product, minute),
            _late_because_its_inputs_are(product, minute),
            *(_at_a_rate(product, factor, minute) for factor in RATES if _can_be(factor, minutes)),
            _nobody_could_look(minutes, minute),
            _few_late_records(records, LEAST_LATE - 1, minute),
            _few_late_records(records, LEAST_LATE, minute),
            _two_monitors(minutes, minute),
            _not_accounted_for(product, minute),
            _not_seen(product, minute),
            _not_known(product, minute),
        ],
    }


def mesh_tests(minute: float) -> Part:
    """The tests beside the rules of the mesh as a whole."""
    down, blind = monitor_alerts(minute)
    values = {MONITORS: "2", "{{ $value }}": "0", AGO: f"{_spoken(LONG * minute)} ago"}
    return {
        "rule_files": ["../rules/mesh.yml"],
        "evaluation_interval": duration(1, minute),
        "tests": [
            _test(
                "one of two monitors is enough",
                [_up("a", 0), _up("b", 1), _seen("some", f"0+{minute:g}x{LONG}")],
                minute,
                alerts={BLIND: []},
            ),
            _test(
                "no monitor answers",
                [_up("a", 0), _up("b", 0)],
                minute,
                alerts={BLIND: [_fired(down, {}, values)]},
            ),
            _test(
                "what the monitor saw grows old",
                [_up("a", 1), _seen("some", f"0x{LONG}")],
                minute,
                alerts={BLIND: [_fired(blind, {}, values)]},
            ),
        ],
    }


def _nothing_is_wrong(product: Product, minute: float) -> Part:
    slos = slos_of(product)
    series = [part for slo in slos for part in _events(slo, None)]
    return _test(
        "nothing is wrong, and nothing is told",
        [*series, _imbalance(product, 0), _seen(product.name, f"0+{minute:g}x{LONG}")],
        minute,
        alerts={alert: [] for alert in ALERTS},
        values={slo.recorded(REMAINING): 1.0 for slo in slos},
    )


def _late_by_its_own_doing(product: Product, minute: float) -> Part:
    slos = slos_of(product)
    return _test(
        "late by its own doing: told by how fast the budget burns",
        [part for slo in slos for part in _events(slo, "own")],
        minute,
        alerts={BURN: _burning(slos, BURN, minute), UPSTREAM: []},
    )


def _late_because_its_inputs_are(product: Product, minute: float) -> Part:
    slos = slos_of(product)
    return _test(
        "late because its inputs are: a notice, and nobody is paged",
        [part for slo in slos for part in _events(slo, "upstream")],
        minute,
        alerts={BURN: [], UPSTREAM: _burning(slos, UPSTREAM, minute)},
    )


def _nobody_could_look(slo: Slo, minute: float) -> Part:
    return _test(
        "nobody could look: it costs budget, and is not the product's doing",
        _events(slo, "unseen"),
        minute,
        alerts={BURN: [], UPSTREAM: []},
        values={slo.recorded(f"{ERROR}5m"): 1.0},
    )


def _can_be(factor: Fraction, slo: Slo) -> bool:
    return 0 < factor * Fraction(slo.budget) < 1


def _at_a_rate(product: Product, factor: Fraction, minute: float) -> Part:
    """Every window holds the same share, so that only the rate matters."""
    slos = slos_of(product)
    share = factor * Fraction(slos[0].budget)
    late = f"0+{int(share * MANY)}x{LONG}"
    return _test(
        f"the budget burns at {float(factor):g} times the rate that it allows",
        [part for slo in slos for part in _events(slo, "own", values=f"0+{MANY}x{LONG}", bad=late)],
        minute,
        alerts={BURN: _burning(slos, BURN, minute, share=share)},
    )


def _few_late_records(slo: Slo, late: int, minute: float) -> Part:
    series = _events(slo, "own", values=f"0 {late}x{LONG - 1}")
    return _test(
        f"{late} records, all of them late",
        series,
        minute,
        alerts={BURN: _burning([slo], BURN, minute) if late >= LEAST_LATE else []},
        values={slo.recorded(f"{ERROR}30m"): 1.0},
    )


def _two_monitors(slo: Slo, minute: float) -> Part:
    return _test(
        "two monitors count a minute once",
        [*_events(slo, "own", instance="a"), *_events(slo, "own", instance="b")],
        minute,
        alerts={BURN: _burning([slo], BURN, minute)},
        values={slo.recorded(f"{ERROR}5m"): 1.0},
    )


def _not_accounted_for(product: Product, minute: float) -> Part:
    (alert,) = [rule for rule in product_alerts(product, minute) if rule["alert"] == BOOKS]
    found = {**_identity(product), "slot": "0"}
    return _test(
        "records that are not accounted for",
        [_imbalance(product, 3)],
        minute,
        alerts={BOOKS: [_fired(alert, found, {"{{ $value }}": "3"})]},
    )


def _not_seen(product: Product, minute: float) -> Part:
    (alert,) = [rule for rule in product_alerts(product, minute) if rule["alert"] == BLIND]
    ago = f"{_spoken(LONG * minute)} ago"
    return _test(
        "one product is not seen, others are",
        [_seen(product.name, f"0x{LONG}", product), _seen("another", f"0+{minute:g}x{LONG}")],
        minute,
        alerts={BLIND: [_fired(alert, _identity(product), {AGO: ago})]},
    )


def _not_known(product: Product, minute: float) -> Part:
    (alert,) = [rule for rule in product_alerts(product, minute) if rule["alert"] == BLIND]
    return _test(
        "one product is not known to the monitor, others are",
        [_up("a", 1), _seen("another", f"0+{minute:g}x{LONG}")],
        minute,
        alerts={BLIND: [_fired(alert, _identity(product), {AGO: "never"})]},
    )


# What they are made of


def _events(
    slo: Slo,
    blame: str | None,
    *,
    values: str = f"0+1x{LONG}",
    bad: str = "",
    instance: str = "a",
) -> list[Series]:
    """All events of an SLO; all of them bad where somebody is to blame, or as many as `bad`."""
    labels = {
        "product": slo.product.name,
        "domain": slo.product.domain,
        "slo": slo.name,
        "job": MONITOR_JOB if slo.name == MINUTES else WORKERS_JOB,
        "instance": instance,
    }
    none = f"0x{LONG}"
    counts = {one: bad or values if one == blame else none for one in BLAMES}
    return [
        ("mesh_slo_events_total", labels, values),
        *(
            ("mesh_slo_bad_events_total", {**labels, "blame": one}, count)
            for one, count in counts.items()
        ),
    ]


def _up(instance: str, value: int) -> Series:
    return "up", {"job": MONITOR_JOB, "instance": instance}, f"{value}x{LONG}"


def _seen(name: str, values: str, product: Product | None = None) -> Series:
    domain = product.domain if product is not None else "some"
    labels = {"job": MONITOR_JOB, "product": name, "domain": domain}
    return "mesh_seen_timestamp_seconds", labels, values


def _imbalance(product: Product, records: int) -> Series:
    labels = {
        "job": WORKERS_JOB,
        "product": product.name,
        "domain": product.domain,
        "slot": "0",
    }
    return "mesh_conservation_imbalance_records", labels, f"{records}x{LONG}"


def _identity(product: Product) -> dict[str, str]:
    return {"product": product.name, "domain": product.domain, "owner": product.owner}


def _burning(
    slos: Sequence[Slo], alert: str, minute: float, *, share: Fraction = Fraction(1)
) -> list[Part]:
    """What an alert says when this share of all events is bad, in every window."""
    blame = "own" if alert == BURN else "upstream"
    return [
        _fired(
            rule,
            {**slo.labels, "blame": blame},
            {
                SHARE: f"{float(100 * share):.4g}%",
                budget_left(slo): f"{float(100 - 100 * share / budget):.0f}",
            },
        )
        for slo in slos
        if (budget := Fraction(max(slo.budget, LEAST_BUDGET)))
        for rule in burn_alerts(slo, minute)
        if rule["alert"] == alert and share > _least(slo, rule["labels"]["severity"])
    ]


def _least(slo: Slo, severity: str) -> Fraction:
    """The share that a severity begins at; a notice is for any of them."""
    factors = [burn.factor for burn in slo.burns if severity in (burn.severity, UPSTREAM_SEVERITY)]
    return min(factors) * Fraction(slo.budget)


def _fired(rule: Part, found: Mapping[str, str], values: Mapping[str, str]) -> Part:
    """What promtool expects of an alert: its labels, and its annotations with everything filled in.

    Args:
        rule: The alerting rule.
        found: The labels of the series that its expression came to.
        values: Parts of the annotations' templates -> what they come to.
    """
    meanings = {f"{{{{ $labels.{name} }}}}": value for name, value in found.items()}
    meanings |= values
    annotations = dict(rule["annotations"])
    for template, meaning in meanings.items():
        annotations = {name: text.replace(template, meaning) for name, text in annotations.items()}
    return {"exp_labels": {**found, **rule["labels"]}, "exp_annotations": annotations}


def _test(
    name: str,
    series: Iterable[Series],
    minute: float,
    *,
    alerts: Mapping[str, list[Part]],
    values: Mapping[str, float] | None = None,
) -> Part:
    """One test: these series, looked at when they end."""
    at = duration(LONG, minute)
    test: Part = {
        "name": name,
        "interval": duration(1, minute),
        "input_series": [
            {"series": f"{metric}{{{matchers(labels)}}}", "values": numbers}
            for metric, labels, numbers in series
        ],
        "alert_rule_test": [
            {"eval_time": at, "alertname": alert, "exp_alerts": expected}
            for alert, expected in alerts.items()
        ],
    }
    if values:
        test["promql_expr_test"] = [
            {
                # Without the series' labels: what it comes to is asked for.
                "expr": f"sum({selector})",
                "eval_time": at,
                "exp_samples": [{"labels": "{}", "value": value}],
            }
            for selector, value in values.items()
        ]
    return test


def _spoken(seconds: float) -> str:
    """A duration as Prometheus' `humanizeDuration` writes it."""
    if seconds < 60:
        return f"{seconds:.4g}s"
    whole = int(seconds)
    parts = [(whole // 3600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    days = whole // 86_400
    shown = [(days, "d"), *parts]
    while not shown[0][0]:
        del shown[0]
    return " ".join(f"{count}{unit}" for count, unit in shown)
