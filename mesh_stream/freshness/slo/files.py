"""All files that `mesh-stream slo` writes, as values: the same on every run for the same mesh."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from mesh_stream.errors import MeshError
from mesh_stream.freshness.slo import openslo, promtool, scraping
from mesh_stream.freshness.slo.alerting import burn_alerts, monitor_alerts, product_alerts
from mesh_stream.freshness.slo.objectives import slos_of
from mesh_stream.freshness.slo.recording import recording_groups
from mesh_stream.freshness.slo.windows import MINUTE
from mesh_stream.product.product import Product

HEADER = "# Written by `mesh-stream slo` from the products' declarations: change those, not this.\n"
REHEARSAL = "# A rehearsal: what is called a minute here, and in the windows' names, lasts {} s.\n"
MONITOR = "127.0.0.1:9390"
"""Where a monitor serves its metrics unless it is told otherwise."""


def files_of(
    products: Iterable[Product], *, monitors: Sequence[str] = (MONITOR,), minute: float = MINUTE
) -> dict[str, str]:
    """The files: path inside the folder -> text.

    Args:
        products: Every product of the mesh.
        monitors: The addresses that monitors serve their metrics on, `host:port`.
        minute: How many seconds a minute lasts.

    Raises:
        MeshError: The extra that makes dashboards is not installed.
    """
    ordered = sorted(products, key=lambda product: (product.domain, product.name))
    documents: dict[str, Any] = {
        "prometheus.yml": scraping.prometheus(monitors, minute),
        "rules/mesh.yml": {"groups": [{"name": "mesh", "rules": list(monitor_alerts(minute))}]},
        "tests/mesh.yml": promtool.mesh_tests(minute),
        "grafana/datasources/mesh.yaml": scraping.datasources(minute),
        "grafana/dashboards/mesh.yaml": scraping.dashboard_provider(),
    }
    several = {"openslo/mesh.yaml": list(openslo.datasource_documents())}
    for product in ordered:
        place = f"{product.domain}.{product.name}"
        documents[f"rules/{place}.yml"] = {"groups": list(_groups(product, minute))}
        documents[f"tests/{place}.yml"] = promtool.product_tests(product, minute)
        several[f"openslo/{place}.yaml"] = list(openslo.product_documents(product))
    header = HEADER if minute == MINUTE else HEADER + REHEARSAL.format(f"{minute:g}")
    files = {path: header + _yaml([document]) for path, document in documents.items()}
    files |= {path: header + _yaml(parts) for path, parts in several.items()}
    return dict(sorted((files | _dashboards(ordered)).items()))


def _groups(product: Product, minute: float) -> Iterator[Mapping[str, Any]]:
    for slo in slos_of(product):
        yield from recording_groups(slo, minute)
        if alerts := list(burn_alerts(slo, minute)):
            yield {"name": f"sloth-slo-alerts-{slo.id}", "rules": alerts}
    alerts = list(product_alerts(product, minute))
    yield {"name": f"mesh-alerts-{product.name}", "rules": alerts}


def _dashboards(products: Iterable[Product]) -> dict[str, str]:
    try:
        from mesh_stream.freshness.slo import dashboards
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "grafana_foundation_sdk":
            raise
        raise MeshError(
            f"dashboards need the extra `slo` ({error.name} is missing): "
            f"pip install 'mesh-stream[slo]'"
        ) from error
    files = {"dashboards/mesh.json": dashboards.overview()}
    for product in products:
        place = f"{product.domain}.{product.name}"
        files[f"dashboards/{place}.json"] = dashboards.of_product(product)
    return files


class _Dumper(yaml.SafeDumper):
    """Writes what it is given in its own order, texts of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _yaml(documents: Iterable[Any]) -> str:
    return yaml.dump_all(
        documents,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        # Templates are not broken: each line is read as it stands.
        width=10_000,
    )
