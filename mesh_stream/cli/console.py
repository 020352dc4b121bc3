"""`mesh-stream console`: the web page."""

from __future__ import annotations

import os

import click

from mesh_stream.cli.options import load, log_to_stderr, products_option
from mesh_stream.local.interrupts import Interrupts
from mesh_stream.settings import is_loopback


@click.command()
@click.argument("products_named", metavar="[PRODUCT...]", nargs=-1)
@click.option("--domain", metavar="DOMAIN", help="Only the products of this domain.")
@click.option(
    "--host", default="127.0.0.1", show_default=True,
    help="Address to listen on. The page has no log-in: whoever reaches it sees every product.",
)  # fmt: skip
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9380, show_default=True,
    help="The port; 0 takes any that is free.",
)  # fmt: skip
@click.option(
    "--prometheus", metavar="URL", default="",
    help="Fills the last hour from there, and what is left of 30 days' budgets.",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Log warnings only.")
@click.option("--tied", is_flag=True, hidden=True, help="Stop when standard input ends.")
@products_option
def console(
    products_named: tuple[str, ...],
    domain: str | None,
    host: str,
    port: int,
    prometheus: str,
    quiet: bool,
    tied: bool,
    products: str | None,
) -> int:
    """Show every product on a web page that stays up to date by itself.

    States and whose fault they are, freshness against what is promised, error budgets, quality,
    throughput, rejects and lineage; and a page for each product with its schema, rules, workers and
    recent dead letters (without payloads). It looks for itself, as `monitor` does: it needs no
    monitor, no Prometheus and no internet, and changes nothing.

    Needs the extra: pip install 'mesh-stream[console]'.
    """
    from mesh_stream.console.extra import require

    require()
    if prometheus and not prometheus.startswith(("http://", "https://")):
        raise click.BadParameter(f"{prometheus!r} is no http(s) URL", param_hint="--prometheus")
    log_to_stderr(verbose=not quiet)
    chosen, settings = load(products, products_named, domain)

    from mesh_stream.console.serve import serving
    from mesh_stream.console.watch import Watch
    from mesh_stream.kafka.registry import SchemaRegistry

    if not is_loopback(host):
        click.echo(
            f"warning: the page has no log-in, and with --host {host} other machines can reach it: "
            f"whoever does sees every product and the reasons of its dead letters",
            err=True,
        )
    interrupts = Interrupts()
    interrupts.hurry.append(lambda: os._exit(1))
    with interrupts.heard(), SchemaRegistry(settings) as registry:
        watch = Watch(chosen, settings, registry, prometheus_url=prometheus)
        with serving(watch, host, port) as served:
            watch.start()
            click.echo(f"console: http://{served}/", err=True)
            if tied:
                from mesh_stream.cli.run import stop_with_parent

                stop_with_parent()
            interrupts.requested.wait()
        watch.stop()
    return 0
