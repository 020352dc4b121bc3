"""`mesh-stream slo`: from the declared SLAs to rules, dashboards and documents."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from mesh_stream.cli.options import products_option

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")


def _addresses(
    _ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    for value in values:
        if not _ADDRESS.fullmatch(value):
            raise click.BadParameter(f"found {value!r}; expected host:port")
    return values


@click.command()
@click.option(
    "--out", metavar="DIR", required=True, type=click.Path(path_type=Path, file_okay=False),
    help="The folder to write to. Other files in it are left alone.",
)  # fmt: skip
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if DIR is not current.")
@click.option(
    "--monitor", "monitors", metavar="HOST:PORT", multiple=True, default=("127.0.0.1:9390",),
    show_default=True, callback=_addresses,
    help="Where `mesh-stream monitor` serves its metrics; once for each that runs.",
)  # fmt: skip
@click.option(
    "--minute", metavar="SECONDS", type=click.FloatRange(1, 60), default=60.0, show_default=True,
    help="How long a minute lasts: a rehearsal's is shorter, and so is every window.",
)  # fmt: skip
@products_option
def slo(
    out: Path, check: bool, monitors: tuple[str, ...], minute: float, products: str | None
) -> int:
    """Write Prometheus rules, OpenSLO documents and Grafana dashboards from the declared SLAs.

    DIR gets prometheus.yml, rules/, tests/ (of the rules, for promtool), openslo/, dashboards/ and
    grafana/ (provisioning). No broker is needed, and the same declarations give the same bytes.
    Files of products that are gone are removed.
    """
    from mesh_stream.freshness.slo import writing
    from mesh_stream.freshness.slo.files import files_of
    from mesh_stream.product.loader import load_mesh
    from mesh_stream.settings import products_folder

    mesh = load_mesh(products_folder(os.environ, products))
    files = files_of(mesh.products.values(), monitors=monitors, minute=minute)
    count = len(mesh.products)
    of_products = f"{count} product{'' if count == 1 else 's'}"
    if not check:
        writing.write(out, files)
        click.echo(f"{out}: {len(files)} files for {of_products}")
        return 0
    found = writing.differences(out, files)
    for difference in found:
        click.echo(difference)
    if found:
        click.echo(f"{out} is not current: run `mesh-stream slo --out {out}`", err=True)
        return 1
    click.echo(f"{out} is current for {of_products}")
    return 0
