"""The dashboards: the mesh for the SRE, and each product for its owner and its consumers.

Every figure is taken as the greatest that any monitor or worker says, or as a sum over workers: two
monitors that watch the same mesh show it once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from mesh_stream.freshness.sli import Blame, State
from mesh_stream.freshness.slo.alerting import MONITOR_JOB, WORKERS_JOB
from mesh_stream.freshness.slo.objectives import MINUTES, RECORDS, matchers
from mesh_stream.freshness.slo.panels import (
    GREEN,
    GREY,
    RED,
    YELLOW,
    Panel,
    Query,
    Words,
    bars,
    figure,
    lines,
    rows,
    timeline,
)
from mesh_stream.freshness.slo.recording import BLAMED, REMAINING
from mesh_stream.product.product import Product
from mesh_stream.runtime.report import WorkerState

TAG = "mesh-stream"
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
WORKER_STATES: Words = {
    number: (state, GREEN if state == WorkerState.RUNNING else YELLOW)
    for number, state in enumerate(dict.fromkeys([*map(str, WorkerState), "stopped"]))
}
LEFT = ((None, RED), (0.0, YELLOW), (0.25, GREEN))
BURNING = ((None, GREEN), (1.0, YELLOW), (6.0, RED))
ANY_BAD = ((None, GREEN), (1.0, RED))


def overview() -> str:
    """The dashboard of the mesh, as Grafana's JSON."""
    newest = _newest({})
    return _dashboard(
        "mesh",
        "Data products: the mesh",
        "Every data product: is its promise kept, whose fault is it where not, what is left.",
        [
            rows(
                "Products",
                "One line for each product, as it is now.",
                [
                    Query(_state({}), "state", words=STATES),
                    Query(_blame({}), "whose fault", words=BLAMES),
                    Query(_age({}), "newest fact's age", "s"),
                    Query(newest, "objective", "s"),
                    Query(
                        _greatest(REMAINING, sloth_slo=MINUTES),
                        "budget left (minutes)", "percentunit", LEFT,
                    ),
                    Query(
                        _greatest(REMAINING, sloth_slo=RECORDS),
                        "budget left (records)", "percentunit", LEFT,
                    ),
                    Query(
                        f"max by ({PER_PRODUCT}) (slo:current_burn_rate:ratio)",
                        "burn rate", "short", BURNING,
                    ),
                    Query(_greatest("mesh_unread_records"), "unread"),
                    Query(_rejects({}, PER_PRODUCT), "rejects", "reqps"),
                    Query(_greatest("mesh_dead_letters_kept_records"), "dead letters kept"),
                    Query(
                        f"count by ({PER_PRODUCT}) "
                        f'(max by ({PER_PRODUCT}, slot) ({_reported(state="running")}) == 1) '
                        f"or 0 * {_greatest('mesh_freshness_objective_seconds', job=MONITOR_JOB)}",
                        "workers running",
                    ),
                ],
                shown={"product": "product", "domain": "domain"},
            ),
            timeline(
                "State", "fresh and idle are good; unknown is not.",
                Query(_state({}), "{{product}}"), STATES,
            ),
            timeline(
                "Workers", "What each slot last said that it was doing.",
                Query(_worker_states({}), "{{product}}/{{slot}}"), WORKER_STATES,
            ),
            lines(
                "Age of the newest fact, against what is promised",
                "1 is as old as it may be: the objective, and the cadence of closed windows.",
                [Query(f"({_age({})})\n/ {newest}", "{{product}}")], unit="percentunit",
            ),
            lines(
                "Error budget left", "Of 30 days, by SLO; below 0 the promise is broken.",
                [Query(f"max by (product, sloth_slo) ({REMAINING})", "{{product}} {{sloth_slo}}")],
                unit="percentunit",
            ),
            lines(
                "Burn rate", "Over 5 minutes. 1 uses up exactly the budget; 14.4 pages.",
                [
                    Query(
                        "max by (product, sloth_slo) (slo:current_burn_rate:ratio)",
                        "{{product}} {{sloth_slo}}",
                    )
                ],
                unit="short",
            ),
            lines(
                "Whose fault", "Share of bad minutes in an hour, by who was to blame.",
                [
                    Query(
                        f'max by (product, blame) ({BLAMED}1h{{sloth_slo="{MINUTES}"}})',
                        "{{product}}: {{blame}}",
                    )
                ],
                unit="percentunit",
            ),
            lines(
                "Unread records", "What has arrived and no commit accounts for.",
                [Query(_greatest("mesh_unread_records"), "{{product}}")], unit="short", width=8,
            ),
            lines(
                "Rejects", "Input records that became dead letters.",
                [Query(_rejects({}, PER_PRODUCT), "{{product}}")], unit="reqps", width=8,
            ),
            bars(
                "Dead letters kept", "On the dead letter topics now.",
                Query(_greatest("mesh_dead_letters_kept_records"), "{{product}}"), width=8,
            ),
        ],
    )  # fmt: skip


def of_product(product: Product) -> str:
    """A product's dashboard, as Grafana's JSON."""
    me = {"product": product.name}
    return _dashboard(
        f"{product.domain}.{product.name}",
        f"Data product: {product.name}",
        f"{product.description} Owner: {product.owner}.",
        [*_now(me), *_freshness(me), *_quality(me), *_running(me)],
    )


def _now(me: Mapping[str, str]) -> Iterable[Panel]:
    yield figure(
        "State", "fresh and idle are good; unknown is not.", Query(_state(me), "", words=STATES)
    )
    yield figure(
        "Whose fault", "Whose it is that it is not good.", Query(_blame(me), "", words=BLAMES)
    )
    yield figure(
        "Error budget left (minutes)",
        "Of the bad minutes that 30 days may have.",
        Query(_greatest(REMAINING, sloth_slo=MINUTES, **me), "", "percentunit", LEFT),
    )
    yield figure(
        "Error budget left (records)",
        "Of the late facts that 30 days may have.",
        Query(_greatest(REMAINING, sloth_slo=RECORDS, **me), "", "percentunit", LEFT),
    )


def _freshness(me: Mapping[str, str]) -> Iterable[Panel]:
    yield lines(
        "Freshness against the objective",
        "Age of the newest fact. Where windows are published when they are over, it may be as much "
        "older as they are apart.",
        [
            Query(_age(me), "newest fact"),
            Query(_newest(me), "objective"),
            Query(_waiting(me), "oldest record that waits"),
        ],
        unit="s",
    )
    yield lines(
        "Late before it came, late since it came",
        "Upstream: from when it happened to when it arrived. Own: from there to the commit.",
        [
            Query(_quantile(quantile, metric, me), f"{name} p{quantile:.0%}".rstrip("%"))
            for metric, name in (
                ("mesh_record_upstream_age_seconds", "upstream"),
                ("mesh_record_residence_seconds", "own"),
            )
            for quantile in (0.5, 0.99)
        ],
        unit="s",
    )
    yield lines(
        "Error budget left",
        "Of 30 days; below 0 the promise is broken.",
        [Query(f"max by (sloth_slo) ({REMAINING}{_in(me)})", "{{sloth_slo}}")],
        unit="percentunit",
    )
    yield lines(
        "Bad events, by who is to blame",
        "Share of an hour.",
        [Query(f"max by (sloth_slo, blame) ({BLAMED}1h{_in(me)})", "{{sloth_slo}}: {{blame}}")],
        unit="percentunit",
    )


def _quality(me: Mapping[str, str]) -> Iterable[Panel]:
    judged = f"mesh_rule_evaluations_total{_in(me)}"
    kept = f"mesh_rule_evaluations_total{_in(me, outcome='kept')}"
    yield lines(
        "Quality score",
        "Of all judgements of records by rules in 5 minutes, those that found the rule kept.",
        [
            Query(f"sum(rate({kept}[5m]))\n/ (sum(rate({judged}[5m])) > 0)", "all rules"),
            Query(
                f"sum by (rule) (rate({kept}[5m]))\n/ (sum by (rule) (rate({judged}[5m])) > 0)",
                "{{rule}}",
            ),
        ],
        unit="percentunit",
    )
    yield lines(
        "Rejects by rule",
        "Input records that became dead letters, by what was wrong.",
        [Query(_rejects(me, "class, rule"), "{{class}}: {{rule}}")],
        unit="reqps",
    )
    yield lines(
        "Dead letters kept",
        "On the dead letter topic.",
        [Query(f"max(mesh_dead_letters_kept_records{_in(me)})", "kept")],
        unit="short",
    )


def _running(me: Mapping[str, str]) -> Iterable[Panel]:
    workers = {"job": WORKERS_JOB, **me}
    yield lines(
        "Lag",
        "Unread: what no commit accounts for, seen from outside. By topic: what the workers have "
        "not read yet.",
        [
            Query(f"max(mesh_unread_records{_in(me)})", "unread"),
            Query(f"sum by (topic) (mesh_consumer_lag_records{_in(workers)})", "{{topic}}"),
        ],
        unit="short",
    )
    yield timeline(
        "Workers",
        "What each slot last said that it was doing.",
        Query(_worker_states(me), "slot {{slot}}"),
        WORKER_STATES,
    )
    yield lines(
        "Throughput",
        "Records a second: read, and published.",
        [
            Query(_rate("mesh_records_consumed_total", workers, "topic"), "read {{topic}}"),
            Query(_rate("mesh_records_produced_total", workers, "topic"), "to {{topic}}"),
        ],
        unit="reqps",
    )
    yield lines(
        "Transactions",
        "A second, by how they ended.",
        [Query(_rate("mesh_transactions_total", workers, "outcome"), "{{outcome}}")],
        unit="ops",
    )


# Expressions


def _in(labels: Mapping[str, str], **more: str) -> str:
    wanted = {**labels, **more}
    return f"{{{matchers(wanted)}}}" if wanted else ""


def _greatest(metric: str, **labels: str) -> str:
    return f"max by ({PER_PRODUCT}) ({metric}{_in(labels)})"


def _age(me: Mapping[str, str]) -> str:
    newest = _greatest("mesh_output_last_event_timestamp_seconds", job=MONITOR_JOB, **me)
    return f"time() - ({newest} > 0)"


def _newest(me: Mapping[str, str]) -> str:
    seen = {"job": MONITOR_JOB, **me}
    return (
        f"max by ({PER_PRODUCT}) (mesh_freshness_objective_seconds{_in(seen)} "
        f"+ mesh_freshness_cadence_seconds{_in(seen)})"
    )


def _waiting(me: Mapping[str, str]) -> str:
    since = _greatest("mesh_waiting_event_timestamp_seconds", **me)
    return f"(time() - {since}) * ({since} > bool 0)"


def _numbered(metric: str, label: str, words: Words, by: str, me: Mapping[str, str]) -> str:
    """The number of what a product or slot is: of the series by `label`, the one that is 1."""
    series = (
        f"{metric}{_in(me, **{label: word})} * {number}" for number, (word, _) in words.items()
    )
    return f"max by ({by}) ({' or '.join(series)})"


def _state(me: Mapping[str, str]) -> str:
    return _numbered("mesh_freshness_state", "state", STATES, PER_PRODUCT, me)


def _blame(me: Mapping[str, str]) -> str:
    blamed = {number: word for number, word in BLAMES.items() if number}
    return _numbered("mesh_freshness_blame", "blame", blamed, PER_PRODUCT, me)


def _worker_states(me: Mapping[str, str]) -> str:
    by = f"{PER_PRODUCT}, slot"
    return _numbered("mesh_worker_reported_state", "state", WORKER_STATES, by, me)


def _reported(**labels: str) -> str:
    return f"mesh_worker_reported_state{_in(labels)}"


def _rate(metric: str, labels: Mapping[str, str], by: str) -> str:
    return f"sum by ({by}) (rate({metric}{_in(labels)}[$__rate_interval]))"


def _rejects(me: Mapping[str, str], by: str) -> str:
    return _rate("mesh_records_rejected_total", {"job": WORKERS_JOB, **me}, by)


def _quantile(quantile: float, metric: str, me: Mapping[str, str]) -> str:
    buckets = f"rate({metric}_bucket{_in(me)}[$__rate_interval])"
    return f"histogram_quantile({quantile:g}, sum by (le) ({buckets}))"


# The dashboard around the panels


def _dashboard(key: str, title: str, description: str, panels: Iterable[Panel]) -> str:
    built = (
        dashboard.Dashboard(title)
        .uid(uid(key))
        .description(description)
        .tags([TAG])
        .editable()
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").type("prometheus"))
        .link(
            dashboard.DashboardLink("data products")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .keep_time(True)
        )
    )
    for number, panel in enumerate(panels, start=1):
        built.with_panel(panel.id(number))
    return json.dumps(built.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def uid(key: str) -> str:
    """The uid of a product's dashboard, or the mesh's; Grafana allows 40 characters."""
    return f"mesh-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
