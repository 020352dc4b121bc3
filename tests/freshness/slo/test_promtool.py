"""The generated unit tests, run by promtool against the generated rules."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mesh_stream.freshness.slo.alerting import burn_alerts
from mesh_stream.freshness.slo.files import files_of
from mesh_stream.freshness.slo.objectives import MINUTES, RECORDS, Slo
from mesh_stream.freshness.slo.promtool import product_tests
from mesh_stream.product.product import Product
from tests.freshness.slo.conftest import promising, put
from tests.freshness.slo.debian import load, program, promtool


def checked(folder: Path) -> None:
    done = promtool("check", "rules", *sorted(folder.glob("rules/*.yml")))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "duplicate" not in done.stdout
    done = promtool("test", "rules", *sorted(folder.glob("tests/*.yml")))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def copied(generated: Path, tmp_path: Path) -> Path:
    program("promtool")
    return Path(shutil.copytree(generated, tmp_path / "slo"))


def test_the_rules_of_this_repositorys_products_do_what_their_tests_say(generated: Path) -> None:
    checked(generated)


@pytest.mark.parametrize(
    ("availability", "minute"),
    [(1.0, 60), (0.99999, 7.25), (0.9, 1), (0.8, 60), (0.3, 60), (0.01, 60)],
)
def test_any_promise_in_a_rehearsal_too_makes_rules_that_do_what_their_tests_say(
    product: Product, tmp_path: Path, availability: float, minute: float
) -> None:
    program("promtool")

    checked(put(tmp_path, files_of([promising(product, availability)], minute=minute)))


def test_an_owners_name_is_taken_as_it_stands(product: Product, tmp_path: Path) -> None:
    import dataclasses

    program("promtool")
    hostile = 'The "{{ $labels.product }}" team: é\n# `50%` \\o/ {{'

    checked(put(tmp_path, files_of([dataclasses.replace(product, owner=hostile)])))


BREAKAGES: Mapping[str, tuple[str, str, str]] = {
    "upstream pages": ('blame="own"} > (14.4', 'blame="upstream"} > (14.4', "late because"),
    "unseen pages": ('blame="own"} > (14.4', 'blame="unseen"} > (14.4', "nobody could look"),
    "few records page": (">= 10", ">= 9", "9 records"),
    "ten records do not": (">= 10", ">= 11", "10 records"),
    "two monitors count twice": (
        "avg by (blame) (rate(", "sum by (blame) (rate(", "two monitors count a minute once",
    ),
    "a page comes later": ("> (6 * 0.001)", "> (7 * 0.001)", "burns at 6.6 times"),
    "a ticket comes sooner": ("> (1 * 0.001)", "> (0.8 * 0.001)", "burns at 0.9 times"),
    "the books never tell": (
        'orders-completed"})) > 0)', 'orders-completed"})) > 9)', "not accounted for",
    ),
    "all are blind if one is": (
        "unless on () (time()", "and on () (time()", "not seen, others are",
    ),
    "what nobody knows is not missed": ("* Inf", "* 0 > 0", "not known to the monitor"),
    "only the window's own blame is paid for": (
        'sum(mesh:sli_error:ratio_rate5m{sloth_id="orders-completed-minutes"})',
        'sum(mesh:sli_error:ratio_rate5m{sloth_id="orders-completed-minutes",blame="own"})',
        "nobody could look",
    ),
}  # fmt: skip
"""What is broken -> a part of the rules, what it becomes, and the test that is there for it."""


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_the_generated_tests_notice(copied: Path, breakage: str) -> None:
    rules = copied / "rules" / "orders.orders-completed.yml"
    # As one text, however the YAML was wrapped.
    document = load(rules)
    before, after, noticing = BREAKAGES[breakage]
    assert replaced(document, before, after) > 0, f"nothing to break: {before}"
    rules.write_text(yaml.safe_dump(document))

    tests = copied / "tests" / "orders.orders-completed.yml"
    document = load(tests)
    (test,) = [one for one in document["tests"] if noticing in one["name"]]
    tests.write_text(yaml.safe_dump({**document, "tests": [test]}))

    done = promtool("test", "rules", tests)

    assert done.returncode != 0, done.stdout
    # It found something else than it says: nothing was malformed.
    assert "exp:" in done.stdout + done.stderr


def replaced(document: Any, before: str, after: str) -> int:
    count = 0
    for group in document["groups"]:
        for rule in group["rules"]:
            count += before in rule["expr"]
            rule["expr"] = rule["expr"].replace(before, after)
    return count


def passes(folder: Path, case: Mapping[str, Any], generated: Path, slo: str = MINUTES) -> None:
    """One test of ours, every minute, against what is recorded of an SLO of `orders-completed`."""
    document = load(generated / "rules" / "orders.orders-completed.yml")
    recording = [
        group
        for group in document["groups"]
        if f"recordings-orders-completed-{slo}" in group["name"]
    ]
    assert len(recording) == 3
    rules = folder / "rules.yml"
    rules.write_text(yaml.safe_dump({"groups": recording}))
    document = {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", **case}],
    }
    path = folder / "case.yml"
    path.write_text(yaml.safe_dump(document))

    done = promtool("test", "rules", path)

    assert done.returncode == 0, done.stdout + done.stderr


def events(slo: str, all_: str, own: str) -> list[dict[str, str]]:
    labels = f'product="orders-completed",domain="orders",slo="{slo}"'
    return [
        {"series": f"mesh_slo_events_total{{{labels}}}", "values": all_},
        {"series": f'mesh_slo_bad_events_total{{{labels},blame="own"}}', "values": own},
    ]


def comes_to(expression: str, value: float, *, at: str) -> dict[str, Any]:
    samples = [{"labels": "{}", "value": value}]
    return {"expr": expression, "eval_time": at, "exp_samples": samples}


@pytest.mark.parametrize("registered", [True, False])
def test_a_series_that_begins_with_its_first_bad_event_would_hide_it(
    generated: Path, tmp_path: Path, registered: bool
) -> None:
    """Why every counter is there from the start, at 0: a rate sees what grows, not what appears."""
    beginning = "0x29 20x30" if registered else "_x29 20x30"
    ratio = 'slo:sli_error:ratio_rate1h{sloth_id="orders-completed-minutes"}'
    case = {
        "input_series": events("minutes", "0+1x60", beginning),
        "promql_expr_test": [comes_to(f"sum({ratio}) > bool 0.3", float(registered), at="59m")],
    }

    passes(tmp_path, case, generated)


@pytest.mark.parametrize("slo", ["minutes", "records"])
def test_a_monitor_or_worker_that_begins_anew_costs_no_budget_and_hides_none(
    generated: Path, tmp_path: Path, slo: str
) -> None:
    ratio = f'slo:sli_error:ratio_rate30d{{sloth_id="orders-completed-{slo}"}}'
    case = {
        # Half of all are bad; both counters fall back to 0 on the way.
        "input_series": events(slo, "0+2x30 0+2x29", "0+1x30 0+1x29"),
        "promql_expr_test": [comes_to(f"sum({ratio})", 0.5, at="60m")],
    }

    passes(tmp_path, case, generated, slo)


@pytest.mark.parametrize(("counted", "left"), [(True, 1.0), (False, None)])
def test_of_no_records_none_was_late_but_what_nobody_counts_is_not_green(
    generated: Path, tmp_path: Path, counted: bool, left: float | None
) -> None:
    selector = '{sloth_id="orders-completed-records"}'
    asked = comes_to(f"sum(slo:period_error_budget_remaining:ratio{selector})", 1, at="20m")
    if left is None:
        asked["exp_samples"] = []
    case = {
        "input_series": events("records" if counted else "minutes", "0x20", "0x20"),
        "promql_expr_test": [asked],
    }

    passes(tmp_path, case, generated, RECORDS)


def test_a_second_monitor_weighs_no_minute_twice(generated: Path, tmp_path: Path) -> None:
    """The second half is bad, and two monitors see it: it is half of all minutes all the same."""
    ratio = 'slo:sli_error:ratio_rate30d{sloth_id="orders-completed-minutes"}'
    one, two = events("minutes", "0+1x120", "0x60 1+1x59"), events("minutes", "_x60 0+1x59", "")
    two[1]["values"] = two[0]["values"]
    for series in two:
        series["series"] = series["series"].replace("}", ',instance="b"}')
    case = {
        "input_series": one + two,
        "promql_expr_test": [
            comes_to(f"sum({ratio}) > bool 0.47", 1, at="120m"),
            comes_to(f"sum({ratio}) < bool 0.53", 1, at="120m"),
        ],
    }

    passes(tmp_path, case, generated)


@pytest.mark.parametrize(("times", "pages"), [(14, 0), (15, 1)])
def test_an_hour_pages_at_more_than_14_times_what_is_allowed(
    generated: Path, tmp_path: Path, product: Product, times: int, pages: int
) -> None:
    """After six good hours, so that the half day before does not page as well."""
    page, ticket, _ = burn_alerts(Slo(product, MINUTES), 60)
    case = {
        "input_series": events("minutes", "0+1000x420", f"0x359 0+{times}x60"),
        "promql_expr_test": [
            comes_to(f"count({page['expr']}) or vector(0)", pages, at="420m"),
            comes_to(f"count({ticket['expr']}) or vector(0)", 1, at="420m"),
        ],
    }

    passes(tmp_path, case, generated)


def test_a_page_is_over_soon_after_what_it_was_for(
    generated: Path, tmp_path: Path, product: Product
) -> None:
    page, *_ = burn_alerts(Slo(product, MINUTES), 60)
    case = {
        # Ten bad minutes after six good hours, and then all is well again.
        "input_series": events("minutes", "0+1000x450", "0x360 0+500x10 5000x79"),
        "promql_expr_test": [
            comes_to(f"count({page['expr']}) or vector(0)", firing, at=at)
            for at, firing in (("360m", 0), ("371m", 1), ("410m", 0))
        ],
    }

    passes(tmp_path, case, generated)


def test_every_alert_of_a_product_has_a_test_that_fires_it(product: Product) -> None:
    tests = product_tests(product, 60)["tests"]
    fired = {
        part["alertname"]
        for test in tests
        for part in test["alert_rule_test"]
        if part["exp_alerts"]
    }
    silent = {
        part["alertname"]
        for test in tests
        for part in test["alert_rule_test"]
        if not part["exp_alerts"]
    }

    assert (
        fired
        == silent
        == {
            "MeshFreshnessBudgetBurn",
            "MeshUpstreamLate",
            "MeshMonitorBlind",
            "MeshBooksDoNotBalance",
        }
    )
