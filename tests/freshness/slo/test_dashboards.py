from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mesh_stream.freshness.slo.dashboards import of_product, overview, uid
from mesh_stream.freshness.slo.panels import WIDTH
from mesh_stream.product.product import Product
from tests.freshness.slo.asking import queries_of
from tests.freshness.slo.conftest import ROOT
from tests.freshness.slo.debian import promtool


@pytest.fixture
def all_of_them(generated: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted((generated / "dashboards").iterdir())]


def panels_of(text: str) -> list[str]:
    return [panel["title"] for panel in json.loads(text)["panels"]]


def test_there_is_one_for_the_mesh_and_one_for_each_product(
    generated: Path, products: dict[str, Product]
) -> None:
    found = {file.stem for file in (generated / "dashboards").iterdir()}

    assert found == {
        "mesh",
        *(f"{product.domain}.{product.name}" for product in products.values()),
    }


def test_the_meshs_shows_what_an_sre_asks_first() -> None:
    (table, *_) = json.loads(overview())["panels"]
    options = table["transformations"][1]["options"]
    columns = sorted(options["indexByName"], key=options["indexByName"].__getitem__)

    assert [options["renameByName"][column] for column in columns] == [
        "product",
        "domain",
        "state",
        "whose fault",
        "newest fact's age",
        "objective",
        "budget left (minutes)",
        "budget left (records)",
        "burn rate",
        "unread",
        "rejects",
        "dead letters kept",
        "workers running",
    ]


def test_a_products_shows_freshness_quality_and_what_runs(product: Product) -> None:
    assert panels_of(of_product(product)) == [
        "State",
        "Whose fault",
        "Error budget left (minutes)",
        "Error budget left (records)",
        "Freshness against the objective",
        "Late before it came, late since it came",
        "Error budget left",
        "Bad events, by who is to blame",
        "Quality score",
        "Rejects by rule",
        "Dead letters kept",
        "Lag",
        "Workers",
        "Throughput",
        "Transactions",
    ]


def test_a_uid_is_the_same_on_every_run_and_fits(all_of_them: list[dict[str, Any]]) -> None:
    uids = [dashboard["uid"] for dashboard in all_of_them]

    assert len(set(uids)) == len(uids)
    assert all(len(one) <= 40 for one in uids)
    assert uid("mesh") == "mesh-d30ca7a7a32bf577"


def test_the_data_source_is_chosen_in_one_place(all_of_them: list[dict[str, Any]]) -> None:
    for dashboard in all_of_them:
        (variable,) = dashboard["templating"]["list"]
        assert (variable["name"], variable["type"]) == ("datasource", "datasource")
        for panel in dashboard["panels"]:
            for part in (panel, *panel["targets"]):
                assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_panels_lie_beside_and_under_each_other(all_of_them: list[dict[str, Any]]) -> None:
    for dashboard in all_of_them:
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            at = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(at["x"], at["x"] + at["w"])
                for y in range(at["y"], at["y"] + at["h"])
            }
            assert at["x"] + at["w"] <= WIDTH
            assert not cells & taken, panel["title"]
            taken |= cells
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(ids)) == len(ids)


def test_every_query_is_promql(generated: Path, tmp_path: Path) -> None:
    asked = list(queries_of(generated / "dashboards", rate_interval="1m"))
    rules = [
        {"record": f"asked:{number}", "expr": one.expression} for number, one in enumerate(asked)
    ]
    path = tmp_path / "asked.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))

    done = promtool("check", "rules", path)

    assert len(asked) > 50
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_monitors_are_shown_once(generated: Path) -> None:
    for one in queries_of(generated / "dashboards", rate_interval="1m"):
        assert one.expression.lstrip("(").startswith(
            ("max", "sum", "count", "histogram_quantile", "time() - (max", "time() - max")
        ), one


def test_without_its_extra_the_command_says_what_to_install(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['grafana_foundation_sdk'] = None\n"
        "from mesh_stream.cli import outcome_of\n"
        f"sys.exit(outcome_of(['slo', '--out', {str(tmp_path / 'slo')!r}]))"
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "pip install 'mesh-stream[slo]'" in done.stderr
    assert not (tmp_path / "slo").exists()
