"""`mesh-stream demo`: the whole mesh on this machine, fed and shown live."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

import click

from mesh_stream.cli.options import products_option

if TYPE_CHECKING:
    from rich.console import Console

    from mesh_stream.local.demo import Pages
    from mesh_stream.runtime.supervisor import Supervisor
    from mesh_stream.settings import Settings

# What would lead the workers to another broker than the embedded one.
_ELSEWHERE = (
    "MESH_BOOTSTRAP_SERVERS",
    "MESH_REGISTRY_URL",
    "MESH_REGISTRY_AUTH",
    "MESH_REGISTRY_CA",
    "MESH_KAFKA_CONFIG",
)


@click.command()
@click.option(
    "--for", "seconds", metavar="SECONDS", type=click.FloatRange(0, min_open=True),
    help="Feed so long, work everything off, check the books, end.  [default: until Ctrl-C]",
)  # fmt: skip
@click.option(
    "--rate", metavar="N", type=click.FloatRange(0, min_open=True), default=500.0,
    show_default=True, help="Events a second, over all topics.",
)  # fmt: skip
@click.option("--seed", metavar="N", type=int, help="The same events again.  [default: a new one]")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON document.")
@click.option("--no-console", is_flag=True, help="Leave the web page out.")
@products_option
def demo(
    seconds: float | None,
    rate: float,
    seed: int | None,
    as_json: bool,
    no_console: bool,
    products: str | None,
) -> int:
    """Run every product on this machine, feed it, and show what comes of it.

    Starts the embedded broker and registry (or uses those that run, and leaves them running),
    provisions topics and schemas, starts the products' workers, and sends them a shop's orders,
    what its customers do and what leaves its warehouse, dirty on purpose. A web page shows how it
    goes, as `console` does. Ctrl-C ends all of it.

    With --for it ends by itself: exit code 0 if every input record became the source of a fact, was
    filtered or was rejected, by the workers' counters and by what stands on the topics; else 1.
    """
    from rich.console import Console

    from mesh_stream.local.demo import Options, run
    from mesh_stream.local.screen import report
    from mesh_stream.product.loader import load_mesh
    from mesh_stream.settings import products_folder

    console = Console(stderr=True)
    if ignored := [name for name in _ELSEWHERE if os.environ.pop(name, "")]:
        console.print(
            f"{', '.join(ignored)} ignored: the demo feeds dirty records, and only to a broker of "
            f"its own",
            soft_wrap=True,
        )
    mesh = load_mesh(products_folder(os.environ, products))
    if not mesh.products:
        raise click.UsageError(f"no product below {mesh.root}; `mesh-stream init` makes one")
    # Not guessable has no value here; new each time, so that two runs on one stack do not tell of
    # the same orders.
    chosen = random.randrange(1_000_000) if seed is None else seed  # noqa: S311
    command = "mesh-stream" if shutil.which("mesh-stream") else sys.argv[0]
    summary = run(
        mesh,
        Options(seconds, rate, chosen, command),
        workers=_workers,
        page=None if no_console else _page(console),
        console=console,
    )
    if summary is None:
        click.echo("stopped; the books were not checked", err=True)
        return 0 if seconds is None else 1
    document = {"seconds": seconds, "rate": rate, "seed": chosen, **summary.document()}
    click.echo(json.dumps(document) if as_json else report(summary))
    return 0 if document["balanced"] else 1


def _page(console: Console) -> Pages | None:
    """What plans the web page; None, and a word on it, where its extra is not installed."""
    from mesh_stream.console.extra import require
    from mesh_stream.errors import MeshError
    from mesh_stream.local.page import Page

    try:
        require()
    except MeshError as error:
        console.print(f"no web page: {error}", soft_wrap=True, highlight=False, markup=False)
        return None

    def plan(settings: Settings, log: IO[bytes]) -> Page:
        environment = {
            **os.environ,
            "MESH_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
            "MESH_REGISTRY_URL": settings.registry_url,
            "MESH_PRODUCTS": str(settings.products.absolute()),
        }
        command = [sys.executable, "-m", "mesh_stream.cli", "console", "--tied", "--quiet"]
        return Page([*command, "--port"], environment, log)

    return plan


def _workers(settings: Settings, names: Sequence[str], log: IO[bytes]) -> Supervisor:
    from mesh_stream.cli.run import supervisor_of

    return supervisor_of(
        names, numbers=range(1), metrics=("127.0.0.1", 9400), settings=settings, stderr=log
    )
