"""The dashboards: the mesh for the SRE, and each product for its owner and its consumers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from mesh_stream.freshness.slo import queries
from mesh_stream.freshness.slo.alerting import WORKERS_JOB
from mesh_stream.freshness.slo.objectives import MINUTES, RECORDS
from mesh_stream.freshness.slo.panels import (
    GREEN,
    RED,
    YELLOW,
    Panel,
    Query,
    bars,
    figure,
    lines,
    rows,
    timeline,
)
from mesh_stream.freshness.slo.recording import BLAMED, REMAINING
from mesh_stream.product.product import Product

TAG = "mesh-stream"
LEFT = ((None, RED), (0.0, YELLOW), (0.25, GREEN))
BURNING = ((None, GREEN), (1.0, YELLOW), (6.0, RED))


def overview() -> str:
    """The dashboard of the mesh, as Grafana's JSON."""
    newest = queries.oldest_allowed({})
    return _dashboard(
        "mesh",
        "Data products: the mesh",
        "Every data product: is its promise kept, whose fault is it where not, what is left.",
        [
            rows(
                "Products",
                "One line for each product, as it is now.",
                [
                    Query(queries.state({}), "state", words=queries.STATES),
                    Query(queries.blame({}), "whose fault", words=queries.BLAMES),
                    Query(queries.age({}), "newest fact's age", "s"),
                    Query(newest, "objective", "s"),
                    Query(
                        queries.greatest(REMAINING, sloth_slo=MINUTES),
                        "budget left (minutes)", "percentunit", LEFT,
                    ),
                    Query(
                        queries.greatest(REMAINING, sloth_slo=RECORDS),
                        "budget left (records)", "percentunit", LEFT,
                    ),
                    Query(
                        f"max by ({queries.PER_PRODUCT}) (slo:current_burn_rate:ratio)",
                        "burn rate", "short", BURNING,
                    ),
                    Query(queries.greatest("mesh_unread_records"), "unread"),
                    Query(queries.rejects({}, queries.PER_PRODUCT), "rejects", "reqps"),
                    Query(queries.greatest("mesh_dead_letters_kept_records"), "dead letters kept"),
                    Query(queries.workers_running(), "workers running"),
                ],
                shown={"product": "product", "domain": "domain"},
            ),
            timeline(
                "State", "fresh and idle are good; unknown is not.",
                Query(queries.state({}), "{{product}}"), queries.STATES,
            ),
            timeline(
                "Workers", "What each slot said last that it was doing; silent: that was long ago.",
                Query(queries.worker_states({}), "{{product}}/{{slot}}"), queries.WORKER_STATES,
            ),
            lines(
                "Age of the newest fact, against what is promised",
                "1 is as old as it may be: the objective, and the cadence of closed windows.",
                [Query(f"({queries.age({})})\n/ {newest}", "{{product}}")], unit="percentunit",
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
                [Query(queries.greatest("mesh_unread_records"), "{{product}}")],
                unit="short", width=8,
            ),
            lines(
                "Rejects", "Input records that became dead letters.",
                [Query(queries.rejects({}, queries.PER_PRODUCT), "{{product}}")],
                unit="reqps", width=8,
            ),
            bars(
                "Dead letters kept", "On the dead letter topics now.",
                Query(queries.greatest("mesh_dead_letters_kept_records"), "{{product}}"), width=8,
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
        "State",
        "fresh and idle are good; unknown is not.",
        Query(queries.state(me), "", words=queries.STATES),
    )
    yield figure(
        "Whose fault",
        "Whose it is that it is not good.",
        Query(queries.blame(me), "", words=queries.BLAMES),
    )
    yield figure(
        "Error budget left (minutes)",
        "Of the bad minutes that 30 days may have.",
        Query(queries.greatest(REMAINING, sloth_slo=MINUTES, **me), "", "percentunit", LEFT),
    )
    yield figure(
        "Error budget left (records)",
        "Of the late facts that 30 days may have.",
        Query(queries.greatest(REMAINING, sloth_slo=RECORDS, **me), "", "percentunit", LEFT),
    )


def _freshness(me: Mapping[str, str]) -> Iterable[Panel]:
    yield lines(
        "Freshness against the objective",
        "Age of the newest fact. Where windows are published when they are over, it may be as much "
        "older as they are apart.",
        [
            Query(queries.age(me), "newest fact"),
            Query(queries.oldest_allowed(me), "objective"),
            Query(queries.waiting(me), "oldest record that waits"),
        ],
        unit="s",
    )
    yield lines(
        "Late before it came, late since it came",
        "Upstream: from when it happened to when it arrived. Own: from there to the commit.",
        [
            Query(queries.quantile_of(quantile, metric, me), f"{name} p{quantile:.0%}".rstrip("%"))
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
        [Query(f"max by (sloth_slo) ({REMAINING}{queries.within(me)})", "{{sloth_slo}}")],
        unit="percentunit",
    )
    yield lines(
        "Bad events, by who is to blame",
        "Share of an hour.",
        [
            Query(
                f"max by (sloth_slo, blame) ({BLAMED}1h{queries.within(me)})",
                "{{sloth_slo}}: {{blame}}",
            )
        ],
        unit="percentunit",
    )


def _quality(me: Mapping[str, str]) -> Iterable[Panel]:
    judged = f"mesh_rule_evaluations_total{queries.within(me)}"
    kept = f"mesh_rule_evaluations_total{queries.within(me, outcome='kept')}"
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
        [Query(queries.rejects(me, "class, rule"), "{{class}}: {{rule}}")],
        unit="reqps",
    )
    yield lines(
        "Dead letters kept",
        "On the dead letter topic.",
        [Query(f"max(mesh_dead_letters_kept_records{queries.within(me)})", "kept")],
        unit="short",
    )


def _running(me: Mapping[str, str]) -> Iterable[Panel]:
    workers = {"job": WORKERS_JOB, **me}
    yield lines(
        "Lag",
        "Unread: what no commit accounts for, seen from outside. By topic: what the workers have "
        "not read yet.",
        [
            Query(f"max(mesh_unread_records{queries.within(me)})", "unread"),
            Query(
                f"sum by (topic) (mesh_consumer_lag_records{queries.within(workers)})", "{{topic}}"
            ),
        ],
        unit="short",
    )
    yield timeline(
        "Workers",
        "What each slot said last that it was doing; silent: that was long ago.",
        Query(queries.worker_states(me), "slot {{slot}}"),
        queries.WORKER_STATES,
    )
    yield lines(
        "Throughput",
        "Records a second: read, and published.",
        [
            Query(queries.rate("mesh_records_consumed_total", workers, "topic"), "read {{topic}}"),
            Query(queries.rate("mesh_records_produced_total", workers, "topic"), "to {{topic}}"),
        ],
        unit="reqps",
    )
    yield lines(
        "Transactions",
        "A second, by how they ended.",
        [Query(queries.rate("mesh_transactions_total", workers, "outcome"), "{{outcome}}")],
        unit="ops",
    )


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
